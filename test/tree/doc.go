// Package tree holds tests of the source tree itself: which package may import
// which, what pure packages may not touch, and the habits of the house. Each
// rule says why it is there, and a rule that nobody can explain may go.
//
// Its input is the repository's files; it has no output but its verdict, and no
// other package may import it.
package tree
