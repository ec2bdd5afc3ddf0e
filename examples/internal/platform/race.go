//go:build race

package platform

var race = []string{"-race"} // examples are built as their tests are
