package ctrl

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Access is who may use a route.
type Access string

// The accesses.
const (
	Mgmt   Access = "mgmt"   // the host, and containers with the role mgmt
	Anyone Access = "anyone" // every container
)

// Route is a row of the table.
type Route struct {
	Method string
	Path   string // a segment in braces stands for any one
	Access Access
	// Limit is how many bytes the body may have, one more is 507;
	// 0: it has none, Unlimited: it is streamed.
	Limit   int64
	Summary string
	// Missing is the refusal for [ErrNotFound], Failed the one for an error
	// that is none of this package's.
	Missing, Failed *Error
	// Refuses are what else is refused here, in the order of the checks.
	Refuses []*Error

	handle func(*Server, *request) (*reply, error)
}

// Unlimited is the Limit of a body that is streamed.
const Unlimited = -1

const (
	maxSmall   = 1024
	maxCommand = 4096 // also a signal, and a value of metadata
	maxMsg     = 256
	// maxState is pvrexport.MaxStateSize.
	maxState = 16 << 20
	// largeState is the size from which states wait for each other: maxStates
	// of them may be in memory at a time.
	largeState = 256 << 10
	maxStates  = 4
)

func failed(status int, text string) *Error { return &Error{Status: status, Text: text} }

var (
	internal   = failed(500, "Internal Error")
	noResource = failed(404, "Resource does not exist")
	badObject  = failed(400, "Request has bad object name")
	badStep    = failed(400, "Request has bas step name") // sic: clients compare it
)

// Routes is the API. Texts and paths are upstream's (contract
// pv-ctrl-appengine.md §1.3 and §1.4).
func Routes() []Route {
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	userMeta, deviceMeta := metaOf("user"), metaOf("device")
	noState, badState := []*Error{ErrNoState}, failed(422, StateBadFormat)
	return []Route{
		{get, "/buildinfo", Mgmt, 0, "the text of the runtime's build, often empty", nil, internal, nil, getBuildInfo},
		{get, "/containers", Mgmt, 0, "the containers of the running state", nil, failed(500, "Cannot get container list"), noState, getContainers},
		{put, "/containers/{name}", Mgmt, maxSmall, `{"action":"start|stop|restart"}: 200 means accepted`, failed(404, "Container not found"), internal,
			[]*Error{ErrSystemPolicy, errNoData, errNotJSON, errNoAction, errAction, ErrCannotStart, ErrCannotRestart}, putContainer},
		{get, "/groups", Mgmt, 0, "the groups of the running state", nil, failed(500, "Cannot get group list"), noState, getGroups},
		{post, "/signal", Anyone, maxCommand, `{"type":"ready","payload":""} from a container about itself`, nil, failed(500, "Internal error"), []*Error{errBadSignal, ErrNoState, ErrUnexpectedSignal}, postSignal},
		{get, "/objects", Mgmt, 0, "the stored objects and their sizes", nil, failed(500, "couldn't get device objects"), nil, getObjects},
		{get, "/objects/{sha256}", Mgmt, 0, "an object's bytes", badObject, failed(500, "Object allocation error"), nil, getObject},
		{put, "/objects/{sha256}", Mgmt, Unlimited, "store an object; its digest is checked", nil, failed(500, "Upload error"), []*Error{badObject, ErrNoSpace, ErrBadObject}, putObject},
		{get, "/steps", Mgmt, 0, "the revisions, their dates, messages and progress", nil, failed(500, "couldn't get device steps"), nil, getSteps},
		{get, "/steps/{rev}", Mgmt, 0, "a revision's state as it was stored; current is the running one", noResource, failed(500, "Cannot send data"), nil, getStep},
		{get, "/steps/locals/{rev}", Mgmt, 0, "the same of a local revision", noResource, failed(500, "Cannot send data"), nil, getStep},
		{put, "/steps/locals/{rev}", Mgmt, maxState, "store a local revision's state, replacing an older one", nil, failed(500, "Cannot store state"), []*Error{badStep, badState, ErrNoSpace, errBusy}, putStep},
		{get, "/steps/{rev}/progress", Mgmt, 0, "how far a revision's installation is", noResource, failed(500, "Cannot send data"), nil, getProgress},
		{get, "/steps/locals/{rev}/progress", Mgmt, 0, "the same of a local revision", noResource, failed(500, "Cannot send data"), nil, getProgress},
		{put, "/steps/{rev}/commitmsg", Mgmt, maxMsg, "store a revision's message", noResource, failed(500, "Cannot write message"), []*Error{badStep, errNoCommitMsg}, putCommitMsg},
		{put, "/steps/locals/{rev}/commitmsg", Mgmt, maxMsg, "the same of a local revision", noResource, failed(500, "Cannot write message"), []*Error{badStep, errNoCommitMsg}, putCommitMsg},
		{get, "/user-meta", Mgmt, 0, "the user's metadata", nil, failed(500, "couldn't get user-meta"), nil, userMeta.get},
		{put, "/user-meta/{key}", Mgmt, maxCommand, "set a value; a JSON object or array stays one", nil, failed(500, "Cannot add or update user meta"), []*Error{failed(400, "Cannot add or update user meta")}, userMeta.put},
		{del, "/user-meta/{key}", Mgmt, 0, "take a key away", failed(404, "User meta does not exist"), failed(500, "Cannot delete user meta"), nil, userMeta.remove},
		{get, "/device-meta", Mgmt, 0, "the device's metadata", nil, failed(500, "couldn't get device-meta"), nil, deviceMeta.get},
		{put, "/device-meta/{key}", Mgmt, maxCommand, "set a value; a JSON object or array stays one", nil, failed(500, "Cannot add or update device meta"), []*Error{failed(400, "Cannot add or update device meta")}, deviceMeta.put},
		{del, "/device-meta/{key}", Mgmt, 0, "take a key away", failed(404, "Device meta does not exist"), failed(500, "Cannot delete device meta"), nil, deviceMeta.remove},
		{get, "/drivers", Mgmt, 0, "the drivers of the calling container; {} when it has none", nil, failed(500, "Cannot get drivers"), nil, getDrivers},
		{put, "/drivers/load", Mgmt, 0, "load the calling container's manual drivers", ErrDrivers, ErrDrivers, nil, loadDrivers},
		{put, "/drivers/unload", Mgmt, 0, "unload them", ErrDrivers, ErrDrivers, nil, unloadDrivers},
		{put, "/drivers/{name}/load", Mgmt, 0, "load one of them", ErrDriver, ErrDriver, nil, loadDrivers},
		{put, "/drivers/{name}/unload", Mgmt, 0, "unload one of them", ErrDriver, ErrDriver, nil, unloadDrivers},
		{post, "/commands", Mgmt, maxCommand, `{"op":"…","payload":"…"}: 200 means accepted`, nil, internal,
			[]*Error{errNoCommand, errBadCommand, ErrLocalMode, ErrUpdateOngoing, ErrClaimed, ErrRemoteDisabled, ErrNoDebugShell, ErrAlreadyRemote, ErrAlreadyUnclaimed, ErrCommandBusy}, postCommand},
		{get, "/config", Mgmt, 0, "the settings that have a legacy name, typed", nil, failed(500, "Cannot get conf"), nil, getConfig},
		{get, "/config2", Mgmt, 0, "all settings as text, and where each comes from", nil, failed(500, "Cannot get conf"), nil, getConfig2},
		{get, "/xconnect-graph", Mgmt, 0, "the service graph; on HTTP/1.1 with ETag, If-None-Match and Prefer: wait=seconds", nil, internal, noState, getGraph},
		{get, "/daemons", Mgmt, 0, "the runtime's daemons", nil, internal, nil, getDaemons},
		{put, "/daemons/{name}", Mgmt, maxSmall, `{"action":"start|stop"}; any other action does nothing`, failed(404, "Daemon not found"), internal, []*Error{errNoData, errNotJSON}, putDaemon},
		{post, "/storage/gc", Mgmt, 0, "collect what no revision needs, and tell how many bytes that was", nil, failed(500, "Error running garbage collector"), nil, postGC},
		{get, "/wakelocks", Mgmt, 0, "what keeps the device awake", nil, failed(500, "couldn't get wakelock state"), nil, getWakelocks},
		{get, "/events", Mgmt, 0, "what happens, as Server-Sent Events; not upstream's", nil, internal, nil, getEvents},
	}
}

// placeholder tells whether a segment of a route's path stands for any one.
func placeholder(segment string) bool { return strings.HasPrefix(segment, "{") }

// open tells whether the path has a placeholder. Such paths are matched as they
// were sent; the others are decoded and their query is cut off.
func (r *Route) open() bool { return strings.Contains(r.Path, "{") }

// Limits of a path with a placeholder. Upstream copies the segments into
// buffers of this size without looking, and crashes.
const (
	maxSegments = 10
	maxSegment  = 255
)

// router finds the routes of a target.
type router struct {
	fixed map[string][]*Route
	open  []openPath // the most literal first
}

type openPath struct {
	segments []string
	routes   []*Route
}

func newRouter(table []Route) *router {
	rt := &router{fixed: map[string][]*Route{}}
	for i := range table {
		r := &table[i]
		if !r.open() {
			rt.fixed[r.Path] = append(rt.fixed[r.Path], r)
			continue
		}
		segments, _ := split(r.Path)
		if j := slices.IndexFunc(rt.open, func(p openPath) bool { return slices.Equal(p.segments, segments) }); j >= 0 {
			rt.open[j].routes = append(rt.open[j].routes, r)
		} else {
			rt.open = append(rt.open, openPath{segments, []*Route{r}})
		}
	}
	// "/steps/locals/progress" is the local revision called progress, since no
	// revision can be called locals.
	slices.SortStableFunc(rt.open, func(a, b openPath) int {
		for i := range min(len(a.segments), len(b.segments)) {
			if x, y := placeholder(a.segments[i]), placeholder(b.segments[i]); x != y {
				if y {
					return -1
				}
				return 1
			}
		}
		return 0
	})
	return rt
}

// find gives the routes of a path, which differ in their method, and what
// stands in the placeholders.
func (rt *router) find(target string) (routes []*Route, names []string) {
	_, path, _ := authority(target)
	plain, _, _ := strings.Cut(path, "#")
	plain, _, _ = strings.Cut(plain, "?")
	if decoded, err := url.PathUnescape(plain); err == nil {
		plain = decoded
	}
	if routes := rt.fixed[plain]; routes != nil {
		return routes, nil
	}
	segments, ok := split(path)
	if !ok {
		return nil, nil
	}
	for _, p := range rt.open {
		if names, ok := p.match(segments); ok {
			return p.routes, names
		}
	}
	return nil, nil
}

// split takes a path apart; slashes in a row are one.
func split(path string) (segments []string, ok bool) {
	for s := range strings.SplitSeq(path, "/") {
		if s == "" {
			continue
		}
		if len(s) > maxSegment || len(segments) == maxSegments {
			return nil, false
		}
		segments = append(segments, s)
	}
	return segments, true
}

func (p openPath) match(segments []string) (names []string, ok bool) {
	if len(segments) != len(p.segments) {
		return nil, false
	}
	for i, s := range p.segments {
		if placeholder(s) {
			names = append(names, segments[i])
		} else if s != segments[i] {
			return nil, false
		}
	}
	return names, true
}

// request is what a handler gets.
type request struct {
	ctx    context.Context
	route  *Route
	names  []string // in the placeholders
	caller identity
	head   *head
	body   *body
	conn   *conn
}
