package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "argosy.dev/argosy"

// source is one Go file of the house.
type source struct {
	pkg  string // Path below the module: "store/etcd".
	path string
	test bool
	file *ast.File
}

// read parses every Go file of the module.
func read(t *testing.T) (files []source, fset *token.FileSet) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	fset = token.NewFileSet()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		files = append(files, source{pkg: filepath.ToSlash(rel), path: path, test: strings.HasSuffix(path, "_test.go"), file: f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d files: the walk is wrong", len(files))
	}
	return files, fset
}

func (s source) imports() []string {
	var out []string
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err == nil {
			out = append(out, p)
		}
	}
	return out
}

// ours gives the path below the module of an import of our own.
func ours(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

func TestImportsGoDown(t *testing.T) {
	files, _ := read(t)
	for _, f := range files {
		if f.test || inGarden(f.pkg) {
			continue
		}
		room, floor, ok := roomOf(f.pkg)
		if !ok {
			t.Errorf("%s: package %s stands on no floor: give it a place in internal/tidy/house.go", f.path, f.pkg)
			continue
		}
		for _, imp := range f.imports() {
			p, own := ours(imp)
			if !own {
				continue
			}
			if inGarden(p) {
				t.Errorf("%s imports %s, which is for tests only", f.path, p)
				continue
			}
			r, below, ok := roomOf(p)
			if !ok || (r != room && below >= floor) {
				t.Errorf("%s (%s, floor %d) imports %s (floor %d): imports go down only", f.path, room, floor, p, below)
			}
		}
	}
}

func TestPureRoomsStayPure(t *testing.T) {
	files, fset := read(t)
	for _, f := range files {
		if f.test || !pure[f.pkg] {
			continue
		}
		for _, imp := range f.imports() {
			if why, bad := impureImports[imp]; bad {
				t.Errorf("%s imports %s: %s", f.path, imp, why)
			}
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine in a pure room", fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					if why, bad := impureCalls[x.Name+"."+n.Sel.Name]; bad {
						t.Errorf("%s: %s.%s: %s", fset.Position(n.Pos()), x.Name, n.Sel.Name, why)
					}
				}
			}
			return true
		})
	}
}

// TestNoRoomIsDead walks the imports from the binary: a room that it does not reach does nothing for anyone.
func TestNoRoomIsDead(t *testing.T) {
	files, _ := read(t)
	imports := map[string][]string{}
	rooms := map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		rooms[f.pkg] = true
		for _, imp := range f.imports() {
			if p, own := ours(imp); own {
				imports[f.pkg] = append(imports[f.pkg], p)
			}
		}
	}
	reached := map[string]bool{}
	var visit func(string)
	visit = func(p string) {
		if reached[p] {
			return
		}
		reached[p] = true
		for _, i := range imports[p] {
			visit(i)
		}
	}
	visit("cmd/argosy")
	forTests := map[string]bool{"store/memory": true, "runtime/fake": true} // The simulator's halves of the two seams.
	for p := range rooms {
		if !reached[p] && !inGarden(p) && !forTests[p] {
			t.Errorf("no import leads from cmd/argosy to %s: use it or take it out", p)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	files, _ := read(t)
	said, all := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f.file.Name.Name, "_test") {
			continue
		}
		if !f.test {
			all[f.pkg] = true
		}
		if f.file.Doc != nil && len(f.file.Doc.Text()) > 40 {
			said[f.pkg] = true
		}
	}
	for p := range all {
		if !said[p] {
			t.Errorf("package %s has no package comment", p)
		}
	}
}

func TestNoHiddenStarts(t *testing.T) {
	files, fset := read(t)
	for _, f := range files {
		for _, d := range f.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init: say it where it starts", fset.Position(fn.Pos()))
			}
		}
	}
}

// TestNobodySleeps: a wait is on a watch, a channel or a clock that the test owns.
func TestNobodySleeps(t *testing.T) {
	files, fset := read(t)
	for _, f := range files {
		synctest := slices.Contains(f.imports(), "testing/synctest")
		ast.Inspect(f.file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && !synctest {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && s.Sel.Name == "Sleep" {
					t.Errorf("%s: time.Sleep", fset.Position(s.Pos()))
				}
			}
			return true
		})
	}
}

// TestReasonsAreMade: a code that nothing makes is a wish. Codes that this release only knows how to read are listed.
func TestReasonsAreMade(t *testing.T) {
	files, _ := read(t)
	text := map[string]string{}
	for _, f := range files {
		if f.test || f.pkg == "reason" {
			continue
		}
		b, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		text[f.path] = string(b)
	}
	for _, name := range codeNames(t, files) {
		used := false
		for _, s := range text {
			if strings.Contains(s, "reason."+name) {
				used = true
				break
			}
		}
		if !used && !later[name] {
			t.Errorf("reason.%s is made nowhere", name)
		}
	}
}

// later are codes whose makers come with clusters of several machines.
var later = map[string]bool{"NotAllowed": true}

func codeNames(t *testing.T, files []source) []string {
	t.Helper()
	var out []string
	for _, f := range files {
		if f.pkg != "reason" || !strings.HasSuffix(f.path, "table.go") {
			continue
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok {
				if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
					out = append(out, v.Names[0].Name)
				}
			}
			return true
		})
	}
	if len(out) < 50 {
		t.Fatalf("found only %d codes", len(out))
	}
	return out
}
