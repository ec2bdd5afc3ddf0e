//go:build !race

package platform

var race []string // examples are built as their tests are
