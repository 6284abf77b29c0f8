// What stands before the pages of the box that ask for no password: it admits who asks by a name of the box, on a socket
// that is there already (LISTEN_FD, of `on-connect`), and ends when nobody has been there for a while.
"use strict";
const http = require("http");
const net = require("net");

const socket = { fd: Number(process.env.LISTEN_FD) };
// Not for what is run in here.
delete process.env.LISTEN_FD;

// What the tailnet calls this box and its addresses, as its tailscaled has them now: it may be renamed at any time.
function ask() {
	return new Promise((resolve) => {
		const none = () => resolve(new Set());
		const status = {
			socketPath: "/run/tailscale/tailscaled.sock",
			path: "/localapi/v0/status?peers=false",
			headers: { Host: "local-tailscaled.sock" },
			timeout: 5000,
		};
		const asking = http.get(status, (answer) => {
			let text = "";
			answer.setEncoding("utf8").on("error", none).on("data", (part) => (text += part));
			answer.on("end", () => {
				try {
					const { DNSName, TailscaleIPs } = JSON.parse(text).Self;
					const full = DNSName.toLowerCase().replace(/\.$/, "");
					resolve(new Set([full, full.split(".")[0], ...(TailscaleIPs || [])].filter(Boolean)));
				} catch {
					// It is not logged in.
					none();
				}
			});
		});
		asking.on("error", none).on("timeout", () => asking.destroy());
	});
}

let names = new Set();

// A page from elsewhere must not be let in by a name of its own that it made lead here.
async function isOurs(host) {
	const [, inBrackets, bare] = /^(?:\[([\da-f:]+)\]|([^:[\]]+))(?::\d+)?$/.exec(host) || [];
	const name = (inBrackets || bare || "").replace(/\.$/, "");
	if (name === "localhost" || name.endsWith(".localhost") || name === "::1") return true;
	if (net.isIPv4(name) && name.startsWith("127.")) return true;
	if (!names.has(name)) names = await ask();
	return names.has(name);
}

// Why a request is not for us, if it is not.
async function refusal({ method, headers }, isUpgrade) {
	const host = (headers.host || "").toLowerCase();
	if (!(await isOurs(host))) return "not a name of this box";
	// A page of another port is another's too: what somebody develops here, say.
	const { origin } = headers;
	if (origin !== undefined && ![`http://${host}`, `https://${host}`].includes(origin.toLowerCase())) {
		return "a page from elsewhere asks for this";
	}
	const changes = isUpgrade || !["GET", "HEAD", "OPTIONS"].includes(method);
	const site = headers["sec-fetch-site"];
	if (changes && site !== undefined && site !== "same-origin" && site !== "none") {
		return "a page from elsewhere asks for this";
	}
}

// Lets `server` have the requests that are for it once it is ready. The process ends when nobody has been connected for
// `patience` milliseconds, unless it is busy.
exports.serve = (server, { patience, ready = Promise.resolve(), isBusy = () => false }) =>
	new Promise((resolve, reject) => {
		const { emit } = server;
		server.emit = function (event, request, response) {
			if (event !== "request" && event !== "upgrade") return emit.apply(this, arguments);
			const isUpgrade = event === "upgrade";
			// Until it is another's nobody listens for that, and it would end the process.
			if (isUpgrade) response.on("error", () => {});
			refusal(request, isUpgrade).then((why) => {
				if (why === undefined) return ready.then(() => emit.apply(this, arguments));
				if (isUpgrade) return response.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
				response.writeHead(403, { "Content-Type": "text/plain", Connection: "close" });
				response.end(`${why}\n`);
			});
			return true;
		};
		let idle;
		const watch = () => {
			clearTimeout(idle);
			idle = setTimeout(() => {
				server.getConnections((error, count) => {
					if (error || count > 0 || isBusy()) return watch();
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
