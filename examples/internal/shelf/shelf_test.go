package shelf_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/examples/internal/shelf"
)

func TestShelf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := shelf.Shelf[int]{Life: time.Minute}
		if _, ok := s.Get(""); ok {
			t.Error("an empty shelf has something")
		}
		one, two := s.Put(1), s.Put(2)
		if v, ok := s.Get(one); !ok || v != 1 || one == two {
			t.Errorf("under %q is %d, %v", one, v, ok)
		}
		if v, ok := s.Take(two); !ok || v != 2 {
			t.Errorf("under %q is %d, %v", two, v, ok)
		}
		if _, ok := s.Take(two); ok {
			t.Error("it is taken twice")
		}
		<-time.After(time.Minute + 1)
		if _, ok := s.Get(one); ok {
			t.Error("it is kept for too long")
		}
		many := s.Put(0)
		for range 100_000 - 1 {
			s.Put(0)
		}
		if _, ok := s.Get(many); !ok {
			t.Error("it is forgotten too early")
		}
		three := s.Put(3)
		if _, ok := s.Get(many); ok {
			t.Error("a shelf is never full")
		}
		s.DeleteFunc(func(v int) bool { return v == 3 })
		if _, ok := s.Get(three); ok {
			t.Error("what was deleted is there")
		}
	})
}
