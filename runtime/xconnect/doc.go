// Package xconnect is the service mesh between containers. It takes the graph
// that pv-ctrl computes (who requires what from whom), keeps one running
// [Plugin] for each link, and starts, restarts and stops them as containers
// come and go.
//
// The package knows no protocol and no namespace. A [Plugin] moves the bytes of
// one kind of link (unix, rest, dbus, drm, wayland). An [Injector] reaches into
// containers; runtime/nsinject is the one for Linux. [Mesh] drives both.
//
//	graph ─▶ Resolve ─▶ Mesh ─▶ Plugin.Run(ctx, link, env)   one per link
//	                              │ env.Consumer.Listen       in the consumer
//	                              └ env.Provider.Dial         in the provider
package xconnect
