package unit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"argosy.dev/argosy/reason"
)

// maxBraceDepth bounds how deep braces may be nested.
const maxBraceDepth = 8

// maxBraceText bounds the argument, and with it the work of looking for braces.
const maxBraceText = 1024

var errTooMany = errors.New("too many")

// ExpandBraces expands an argument as a shell does: web@{1..10}, {a,b}.service, nested, {01..10} with the width kept,
// {1..9..2} with a step, {a..e} for letters. Braces without a comma or a range stay as they are, as in a shell.
// More than most results give a reason too-large.
func ExpandBraces(arg string, most int) ([]string, error) {
	if len(arg) > maxBraceText {
		return nil, reason.Because(reason.TooLarge, reason.Args{"what": "bytes in one argument", "need": len(arg), "have": maxBraceText})
	}
	b := bracer{most: most}
	out, err := b.expand(arg, 0)
	if errors.Is(err, errTooMany) {
		return nil, reason.Because(reason.TooLarge, reason.Args{"what": "names in " + printable(arg), "need": b.need, "have": most})
	}
	if err != nil {
		return nil, reason.Because(reason.NameInvalid, reason.Args{"unit": printable(arg), "error": err.Error()})
	}
	return out, nil
}

// bracer bounds the work of one expansion.
type bracer struct {
	most int
	need int64 // How many there would be, at least; for the refusal.
}

func (b *bracer) over(n int64) error {
	if n > int64(b.most) {
		b.need = n
		return errTooMany
	}
	return nil
}

func (b *bracer) expand(s string, depth int) ([]string, error) {
	if depth > maxBraceDepth {
		return nil, fmt.Errorf("braces are nested deeper than %d", maxBraceDepth)
	}
	open, end, commas := findBrace(s)
	if open < 0 {
		return []string{s}, nil
	}
	inner, err := b.alternatives(s[open+1:end], commas, depth)
	if err != nil {
		return nil, err
	}
	tails, err := b.tails(s[end+1:], depth)
	if err != nil {
		return nil, err
	}
	if err := b.over(int64(len(inner)) * int64(len(tails))); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(inner)*len(tails))
	for _, i := range inner {
		for _, t := range tails {
			out = append(out, s[:open]+i+t)
		}
	}
	return out, nil
}

// tails expands what follows a closing brace. It is a loop of the same depth: {a}{b}{c} is not nested.
func (b *bracer) tails(s string, depth int) ([]string, error) {
	if s == "" {
		return []string{""}, nil
	}
	return b.expand(s, depth)
}

// alternatives expands what stands inside one pair of braces.
func (b *bracer) alternatives(s string, commas []int, depth int) ([]string, error) {
	if len(commas) == 0 {
		return b.sequence(s)
	}
	var out []string
	from := 0
	for _, c := range append(commas, len(s)) {
		part, err := b.expand(s[from:c], depth+1)
		if err != nil {
			return nil, err
		}
		if err := b.over(int64(len(out)) + int64(len(part))); err != nil {
			return nil, err
		}
		out = append(out, part...)
		from = c + 1
	}
	return out, nil
}

// findBrace finds the first pair of braces that means something: one with a comma of its own or a range inside.
// commas are offsets into the text between the braces. Each opening brace is looked at once with a bounded scan.
func findBrace(s string) (open, end int, commas []int) {
	for open = 0; open < len(s); open++ {
		if s[open] != '{' {
			continue
		}
		depth, found := 0, []int(nil)
		for i := open + 1; i < len(s); i++ {
			switch s[i] {
			case '{':
				depth++
			case ',':
				if depth == 0 {
					found = append(found, i-open-1)
				}
			case '}':
				if depth > 0 {
					depth--
					continue
				}
				if _, _, _, _, ok := rangeOf(s[open+1 : i]); found != nil || ok {
					return open, i, found
				}
				i = len(s)
			}
		}
	}
	return -1, -1, nil
}

// rangeOf reads FROM..TO or FROM..TO..STEP, of numbers or of single letters.
func rangeOf(s string) (from, to, step int64, width int, ok bool) {
	parts := strings.Split(s, "..")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, 0, 0, 0, false
	}
	step = 1
	if len(parts) == 3 {
		v, err := strconv.ParseInt(parts[2], 10, 32)
		if err != nil {
			return 0, 0, 0, 0, false
		}
		step = max(v, -v, 1)
	}
	if isLetter(parts[0]) && isLetter(parts[1]) {
		return int64(parts[0][0]), int64(parts[1][0]), step, -1, true
	}
	var err1, err2 error
	from, err1 = strconv.ParseInt(parts[0], 10, 32)
	to, err2 = strconv.ParseInt(parts[1], 10, 32)
	if err1 != nil || err2 != nil {
		return 0, 0, 0, 0, false
	}
	if padded(parts[0]) || padded(parts[1]) {
		width = max(len(parts[0]), len(parts[1]))
	}
	return from, to, step, width, true
}

func isLetter(s string) bool {
	return len(s) == 1 && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

func padded(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return len(s) > 1 && s[0] == '0'
}

func (b *bracer) sequence(s string) ([]string, error) {
	from, to, step, width, ok := rangeOf(s)
	if !ok {
		return []string{"{" + s + "}"}, nil
	}
	count := max(to-from, from-to)/step + 1
	if err := b.over(count); err != nil {
		return nil, err
	}
	if to < from {
		step = -step
	}
	out := make([]string, 0, count)
	for n := from; int64(len(out)) < count; n += step {
		if width < 0 {
			out = append(out, string(rune(n)))
		} else {
			out = append(out, fmt.Sprintf("%0*d", width, n))
		}
	}
	return out, nil
}
