// page.js SOCKET: what answers at that unix socket, as a page behind `front.js`.
"use strict";
const http = require("http");
const { serve } = require("./front");

const [socketPath] = process.argv.slice(2);

const server = http.createServer((request, response) => {
	// A connection each, that we close: closed by the other side before it has read all, its answer would be lost.
	const headers = { ...request.headers, connection: "keep-alive" };
	const asking = http.request({ socketPath, agent: false, method: request.method, path: request.url, headers });
	asking.on("response", (answer) => {
		// How that connection is kept is no word for this one.
		const { connection, ...headers } = answer.headers;
		response.writeHead(answer.statusCode, headers);
		// Half an answer must not look like a whole one.
		answer.on("error", () => response.destroy()).pipe(response);
	});
	asking.on("error", (error) => {
		// Who asked has gone, and this was ended for it.
		if (response.destroyed) return;
		console.error(`${request.method} ${request.url}: ${error.message}`);
		if (response.headersSent) return response.destroy();
		response.writeHead(502, { "Content-Type": "text/plain" });
		response.end("it does not answer; if it has just ended, it is back in a moment\n");
	});
	response.on("close", () => asking.destroy());
	request.on("error", () => asking.destroy()).pipe(asking);
});

// It is there again at once, so it need not wait for long.
serve(server, { patience: 60_000 });
