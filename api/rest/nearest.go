package rest

import "strings"

// didYouMean is a hint towards the nearest of the names that exist.
func didYouMean(got string, names []string) string {
	best, distance := "", len(got)/2+1
	for _, n := range names {
		if d := editDistance(strings.ToLower(got), strings.ToLower(n), distance); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	if len(names) == 0 {
		return "leave it out"
	}
	return "there are: " + strings.Join(names, ", ")
}

// editDistance counts the letters to insert, delete or replace; it gives up at
// the limit, and on names too long to be anybody's.
func editDistance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
