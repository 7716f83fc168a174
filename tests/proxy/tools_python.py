"""What administrators do by haproxyadmin and haproxy-cli, printed line by line."""

import sys
from haproxy import cmds, conn
from haproxyadmin import haproxy

directory, listed, mapped = sys.argv[1:4]
socket = directory + "/admin.sock"


def show(name, work):
    try:
        print(name, "=", work())
    except Exception as error:
        print(name, "raises", type(error).__name__, error)


hap = haproxy.HAProxy(socket_file=socket)
show("frontends", lambda: sorted(f.name for f in hap.frontends()))
show("backends", lambda: sorted(b.name for b in hap.backends()))
show("servers", lambda: sorted(s.name for s in hap.servers()))
show("maxconn", lambda: hap.metric("Maxconn"))
show("node", lambda: hap.nodename)
show("not there", lambda: hap.frontend("none"))

web = hap.frontend("web")
show("frontend", lambda: (web.status, web.maxconn, web.iid, web.requests))
show("disable", web.disable)
show("status", lambda: web.status)
show("enable", web.enable)
show("status", lambda: web.status)
show("setmaxconn", lambda: web.setmaxconn(50))
show("maxconn", lambda: web.maxconn)

app = hap.backend("app")
show("backend", lambda: (app.status, app.requests))
one = hap.server("one", backend="app")[0]
show("server", lambda: (one.status, one.weight, one.address, one.port, one.sid))
for state in ["drain", "maint", "ready"]:
    show(state, lambda: one.setstate(state))
    show("status", lambda: one.status)
for weight in [5, "200%", "100%", 0, 999]:
    show("setweight", lambda: one.setweight(weight))
    show("weight", lambda: one.weight)
show("shutdown", one.shutdown)
show("check", lambda: (one.check_status, one.check_code, one.last_status))

show("maps", lambda: len(hap.show_map()))
show("show_map", lambda: [line.split(" ", 1)[1] for line in hap.show_map(mapped)])
show("add_map", lambda: hap.add_map(mapped, "c.test", "app"))
show("get_map", lambda: hap.get_map(mapped, "c.test"))
show("set_map", lambda: hap.set_map(mapped, "c.test", "other"))
show("get_map", lambda: hap.get_map(mapped, "c.test"))
show("del_map", lambda: hap.del_map(mapped, "c.test"))
show("del_map", lambda: hap.del_map(mapped, "c.test"))
show("clear_map", lambda: hap.clear_map("/none"))
show("add_acl", lambda: hap.add_acl(listed, "192.0.2.0/24"))
show("get_acl", lambda: hap.get_acl(listed, "192.0.2.7"))
show("del_acl", lambda: hap.del_acl(listed, "192.0.2.0/24"))
show("del_acl", lambda: hap.del_acl(listed, "192.0.2.0/24"))
for limit in [hap.setratelimitconn, hap.setratelimitsess, hap.setratelimitsslsess]:
    show("limit", lambda: limit(7))
show("limits", lambda: (hap.ratelimitconn, hap.ratelimitsess, hap.ratelimitsslsess))
show("clearcounters", lambda: hap.clearcounters(all=True))
show("requests", lambda: (web.requests, app.requests))

# haproxy-cli ends its commands with a carriage return and a line feed.
for command in [
    cmds.getWeight(backend="app", server="one"),
    cmds.setWeight(backend="app", server="one", weight=33),
    cmds.getWeight(backend="app", server="one"),
    cmds.disableServer(backend="app", server="one"),
    cmds.listServers(backend="app"),
    cmds.enableServer(backend="app", server="one"),
    cmds.listServers(backend="app"),
    cmds.getWeight(backend="none", server="one"),
    cmds.showFrontends(),
    cmds.showBackends(),
]:
    connection = conn.HaPConn(socket)
    show(type(command).__name__, lambda: repr(connection.sendCmd(command)))
    connection.close()
