package show

import "strings"

// Cell is one field of a table.
type Cell struct {
	Text string
	Tone Tone
}

// Table is rows under a header, aligned to the widest.
type Table struct {
	Header []string
	Rows   [][]Cell
}

// Add puts a row of plain words below the others.
func (t *Table) Add(words ...string) {
	row := make([]Cell, len(words))
	for i, w := range words {
		row[i] = Cell{Text: w}
	}
	t.Rows = append(t.Rows, row)
}

// Lines draws the table. With a width, the last column is cut to it; the others never are, because names have to be copied.
func (t *Table) Lines(s Style, width int, legend bool) []string {
	widths := make([]int, len(t.Header))
	if legend {
		for i, h := range t.Header {
			widths[i] = Width(h)
		}
	}
	for _, r := range t.Rows {
		for i := range min(len(r), len(widths)) {
			widths[i] = max(widths[i], Width(cellText(r[i])))
		}
	}
	var out []string
	if legend {
		head := make([]Cell, len(t.Header))
		for i, h := range t.Header {
			head[i] = Cell{Text: h, Tone: Strong}
		}
		out = append(out, row(s, head, widths, width))
	}
	for _, r := range t.Rows {
		out = append(out, row(s, r, widths, width))
	}
	return out
}

func cellText(c Cell) string {
	if c.Text == "" {
		return "-"
	}
	return Clean(c.Text)
}

func row(s Style, cells []Cell, widths []int, width int) string {
	var b strings.Builder
	used := 0
	for i, c := range cells {
		text := cellText(c)
		last := i == len(cells)-1
		if last {
			if width > 0 && used+Width(text) > width {
				text = s.Cut(text, max(width-used, 8))
			}
			b.WriteString(s.Paint(c.Tone, text))
			break
		}
		b.WriteString(s.Paint(c.Tone, text))
		b.WriteString(strings.Repeat(" ", widths[i]-Width(text)+2))
		used += widths[i] + 2
	}
	return strings.TrimRight(b.String(), " ")
}
