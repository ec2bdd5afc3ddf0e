package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Statements returns the texts of all statements that ran so far.
func (s *Store) Statements(ctx context.Context) ([]string, error) {
	var texts []string
	err := s.write(ctx, func(*Tx) error {
		texts = slices.Collect(maps.Keys(s.written))
		return nil
	})
	s.reading.mu.Lock()
	defer s.reading.mu.Unlock()
	return slices.AppendSeq(texts, maps.Keys(s.reading.m)), err
}

// Pragma returns a setting of the writer's connection.
func (s *Store) Pragma(ctx context.Context, name string) (value string, err error) {
	err = s.writing.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}

// FillDisk leaves room for so many pages more.
func (s *Store) FillDisk(ctx context.Context, room int) error {
	var pages int
	if err := s.writing.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return err
	}
	_, err := s.writing.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages+room))
	return err
}
