// Package kenar is an app's side of the open platform of a marketplace: the
// wire of Divar's Kenar, which OpenKenar speaks too.
package kenar
