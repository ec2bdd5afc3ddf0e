// Package openkenar is the root of the repository and holds no code. The
// program is in cmd/openkenar.
package openkenar

//go:generate go run ./cmd/openkenar contract --to .
