// code-server behind `front.js`, in one process instead of two; ends when nobody has used it for a while:
// DEVBOX_EDITOR_IDLE, in seconds.
"use strict";
const fs = require("fs");
const { serve } = require("./front");
// Else VS Code's server takes itself for the main program and starts once more.
process.env.CODE_SERVER_PARENT_PID = String(process.pid);
const code = "/usr/lib/code-server/out/node/";
const app = require(code + "app");
const { parse, setDefaults } = require(code + "cli");
const { runCodeServer } = require(code + "main");
const { paths } = require(code + "util");

const patience = 1000 * (Number(process.env.DEVBOX_EDITOR_IDLE) || 1800);
// Not for what is run in here.
delete process.env.DEVBOX_EDITOR_IDLE;

// Where the heartbeat goes from the first request on.
fs.mkdirSync(paths.data, { recursive: true });

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
	options.socket
		? listen(server, options)
		// It would answer before it knows any page: the connection that woke it is there already.
		: serve(server, { patience, isBusy: hasTerminal, ready });

const ready = setDefaults(parse(process.argv.slice(2))).then(runCodeServer);
ready.catch((error) => {
	console.error(error);
	process.exit(1);
});
