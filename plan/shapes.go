package plan

import (
	"math"
)

// The typical shapes that fragmentation is measured with: some drawn as units come, some by size.
const (
	shapesDrawn  = 12
	shapesBySize = 4
	shapesAll    = shapesDrawn + shapesBySize
)

// Weights of the score, in shares of the mean machine. From the comparison of policies in bench/place.
const (
	leftoverWeight = 0.02 // Per share that stays free: prefer fuller machines between equals.
	peerWeight     = 0.1  // Per unit of the same service that is there already.
)

// retune is how far the picture of capacity and demand may drift before the weights are taken anew.
const retune = 0.05

// shapes are a sample of what units ask for. Free room that no typical shape can use is fragmented.
type shapes struct {
	version uint32 // Cached fragmentation of an older version is stale.
	n       int
	cpu     [shapesAll]float64
	mem     [shapesAll]float64
	seen    int
	sized   float64 // Sum of sizes seen.

	wanted       amounts // What all wanted units ask for together.
	wCPU, wMem   float64 // Worth of one unit of a dimension: its scarcity over the mean machine.
	mCPU, mMem   float64 // The mean machine.
	invC, invM   [shapesAll]float64
	worth        [shapesAll]float64 // Of one shape, divided by the number of shapes.
	ratio, nodes float64            // The demand and the machines that the weights were taken for.
}

// offer lets a unit's shape into the sample, by chance: reservoir sampling, uniform and by size.
func (f *shapes) offer(need *amounts, d *dice) {
	c, m := float64(need[cpu]), float64(need[memory])
	size := max(c/max(f.mCPU, 1), m/max(f.mMem, 1))
	f.seen++
	f.sized += size
	switch {
	case f.n < shapesAll:
		f.set(f.n, c, m)
		f.n++
		return
	case d.roll(f.seen) < shapesDrawn:
		f.set(d.roll(shapesDrawn), c, m)
	}
	if f.sized > 0 && float64(d.roll(1<<30))/(1<<30) < size*shapesBySize/f.sized {
		f.set(shapesDrawn+d.roll(shapesBySize), c, m)
	}
}

func (f *shapes) set(i int, c, m float64) {
	if f.cpu[i] == c && f.mem[i] == m && i < f.n {
		return
	}
	f.cpu[i], f.mem[i] = c, m
	f.version = 0
}

// tune takes weights and shapes into use. A change makes every cached fragmentation stale, so small drifts wait.
func (f *shapes) tune(t *slots, version uint32) {
	if t.n == 0 {
		return
	}
	wc, wm := float64(f.wanted[cpu])/max(1, float64(t.total[cpu])), float64(f.wanted[memory])/max(1, float64(t.total[memory]))
	ratio := (wc + 1e-9) / (wm + 1e-9)
	if f.version != 0 && near(ratio, f.ratio) && near(float64(t.n), f.nodes) {
		return
	}
	f.ratio, f.nodes, f.version = ratio, float64(t.n), version
	top := max(wc, wm)
	if top == 0 {
		wc, wm, top = 1, 1, 1
	}
	f.mCPU, f.mMem = float64(t.total[cpu])/f.nodes, float64(t.total[memory])/f.nodes
	f.wCPU, f.wMem = wc/top/max(1, f.mCPU), wm/top/max(1, f.mMem)
	for i := range f.n {
		// A shape that asks for nothing in a dimension would fit without end.
		c, m := max(f.cpu[i], f.mCPU/1000, 1), max(f.mem[i], f.mMem/1000, 1)
		f.invC[i], f.invM[i] = 1/c, 1/m
		f.worth[i] = (c*f.wCPU + m*f.wMem) / float64(f.n)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= retune*b }

// frag is the share of the free room that the typical shapes cannot use, in mean machines (FGD, ATC'23).
func (f *shapes) frag(c, m float64) float64 {
	c, m = max(c, 0), max(m, 0)
	free := c*f.wCPU + m*f.wMem
	for i := range f.n {
		free -= float64(int64(min(c*f.invC[i], m*f.invM[i]))) * f.worth[i]
	}
	return free
}

// score says how well the room of a slot suits a class: the larger the better. A unit that asks for nothing takes no room,
// and suits everywhere alike.
func (p *Planner) score(s int32, need *amounts) float64 {
	f, t := &p.shapes, &p.slots
	if *need == (amounts{}) {
		return 0
	}
	fc, fm := float64(t.free[cpu][s]), float64(t.free[memory][s])
	if t.fragAt[s] != f.version {
		t.frag[s], t.fragAt[s] = f.frag(fc, fm), f.version
	}
	fc, fm = fc-float64(need[cpu]), fm-float64(need[memory])
	return t.frag[s] - f.frag(fc, fm) - leftoverWeight*(fc*f.wCPU+fm*f.wMem)
}

// want keeps the sum of what is wanted, and offers the shape of a class when its first unit comes.
func (p *Planner) want(c *class, sign int64) {
	for d := range dims {
		p.shapes.wanted[d] += sign * c.need[d]
	}
	if !c.shape {
		c.shape = true
		p.shapes.offer(&c.need, &p.dice)
	}
}
