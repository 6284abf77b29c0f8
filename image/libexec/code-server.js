// code-server on a socket that is there already (LISTEN_FD, of `on-connect`), in one process instead of two, and ended
// when nobody has used it for a while: DEVBOX_EDITOR_IDLE, in seconds.
"use strict";
const fs = require("fs");
const net = require("net");
// Else VS Code's server takes itself for the main program and starts once more.
process.env.CODE_SERVER_PARENT_PID = String(process.pid);
const code = "/usr/lib/code-server/out/node/";
const app = require(code + "app");
const { parse, setDefaults } = require(code + "cli");
const { runCodeServer } = require(code + "main");
const { paths } = require(code + "util");

const socket = { fd: Number(process.env.LISTEN_FD) };
const patience = 1000 * (Number(process.env.DEVBOX_EDITOR_IDLE) || 1800);
// Neither is for what is run in here.
delete process.env.LISTEN_FD;
delete process.env.DEVBOX_EDITOR_IDLE;

// Where the heartbeat goes from the first request on.
fs.mkdirSync(paths.data, { recursive: true });

// There is no password, so a page from elsewhere must not be let in by a name of its own that it made lead here. What
// has no dot, or is an address, is no such name.
function isOurs(host) {
	const name = (host || "").toLowerCase().replace(/:\d+$/, "").replace(/^\[|\]$|\.$/g, "");
	if (!name.includes(".") || net.isIP(name) || name.endsWith(".localhost")) return true;
	try {
		return name === fs.readFileSync("/run/devbox/tailnet-dns-name", "utf8").trim();
	} catch {
		return false;
	}
}

// Whether a terminal is open: VS Code keeps one for three hours after its window is gone, and what runs in it.
function hasTerminal() {
	const parents = new Map();
	const withTerminal = [];
	for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
		try {
			const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
			const [, parent, , , terminal] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
			parents.set(Number(pid), parent);
			if (terminal !== 0) withTerminal.push(Number(pid));
		} catch {
			// It has ended meanwhile.
		}
	}
	return withTerminal.some((pid) => {
		while (pid > 1 && pid !== process.pid) pid = parents.get(pid);
		return pid === process.pid;
	});
}

// In place of code-server's own, which would bind an address.
const { listen } = app;
app.listen = (server, options) =>
	// Its other one is a socket in the home, by which `code-server FILE` in a terminal finds it.
	options.socket ? listen(server, options) : new Promise((resolve, reject) => {
		const { emit } = server;
		server.emit = function (event, request, response) {
			if (event !== "request" && event !== "upgrade") return emit.apply(this, arguments);
			// It would answer before it knows any page: the connection that woke it is there already.
			if (isOurs(request.headers.host)) return ready.then(() => emit.apply(this, arguments));
			if (event === "request") response.writeHead(403);
			return response.end(event === "request" ? "not a name of this box\n" : undefined);
		};
		let idle;
		const watch = () => {
			clearTimeout(idle);
			idle = setTimeout(() => {
				server.getConnections((error, count) => {
					if (error || count > 0 || hasTerminal()) return watch();
					console.log("nobody is here: ending until somebody asks again");
					process.exit(0);
				});
			}, patience);
		};
		server.on("connection", (connection) => {
			watch();
			connection.on("close", watch);
		});
		server.once("error", reject);
		server.listen(socket, resolve);
		watch();
	});

const ready = setDefaults(parse(process.argv.slice(2))).then(runCodeServer);
ready.catch((error) => {
	console.error(error);
	process.exit(1);
});
