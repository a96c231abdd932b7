package rules

import (
	"slices"
	"strconv"
	"time"

	"reemboss/batch/config"
)

// route is how a card got to its bureau.
type route struct {
	bureau string // "": none
	group  string // embossing group that counted
	why    string
}

// route finds the bureau: the first routing line that matches program and
// embossing group, else the product's bureau. A group that no line names is
// unknown, and its cards have no bureau. A re-embossing may name another group
// than the card's.
func (p *Policy) route(w *weighing) route {
	r := route{group: w.card.Group}
	if !w.reissue && w.fields.EmbossingGroup != "" {
		r.group = w.fields.EmbossingGroup
	}
	if r.group != "" && !slices.ContainsFunc(p.cfg.Routing, func(line config.Route) bool { return line.Group == r.group }) {
		return r
	}
	for i, line := range p.cfg.Routing {
		if (line.Program == "" || line.Program == w.card.ProgramID) && (line.Group == "" || line.Group == r.group) {
			r.bureau, r.why = line.Bureau, "line "+strconv.Itoa(i+1)+" of the routing"
			return r
		}
	}
	if w.productOK {
		r.bureau, r.why = w.product.Bureau, "the bureau of product "+w.card.Product
	}
	return r
}

// businessDate is the bureau's; without a bureau it is the date in our own time zone.
func (p *Policy) businessDate(bureau string, now time.Time) time.Time {
	if calendar, ok := p.calendars[bureau]; ok {
		return calendar.BusinessDate(now)
	}
	return dateOf(now.In(p.zone))
}
