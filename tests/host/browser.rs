//! A browser without a screen, driven by the Chrome DevTools protocol over a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::tailnet::Device;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// One page of it; the browser ends with this.
pub(super) struct Browser {
    child: Child,
    requests: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    count: u64,
    _profile: TempDir,
}

impl Browser {
    /// One on that device: in its network namespace, and with its SOCKS5 proxy for all that it asks for.
    pub(super) fn on(device: &Device) -> Result<Self, Failed> {
        let profile = tempfile::tempdir()?;
        // It reads requests from file descriptor 3 and writes to 4. The tests are root, for whom it has no sandbox.
        let mut command = device.netns().command("sh");
        command.args(["-c", "exec chromium-headless-shell \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh"]);
        command.args(["--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args(["--disable-background-networking", "--window-size=1200,800"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!("--proxy-server=socks5://{}", device.proxy()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let requests = child.stdin.take().ok_or("no pipe")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                if sender.send(serde_json::from_slice(&message).unwrap_or_default()).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Self { child, requests, messages, session: None, count: 0, _profile: profile };
        let page = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.ask("Page.enable", &json!({}))?;
        Ok(browser)
    }

    /// Goes there, and waits until the page has loaded. Two devices that have just met may not reach each other at once
    /// where other tests take the processors: a person would try again, and so does this, and says so.
    pub(super) fn go(&mut self, url: &str) -> Result<(), Failed> {
        let begun = Instant::now();
        loop {
            let gone = self.ask("Page.navigate", &json!({ "url": url }))?;
            match gone["errorText"].as_str() {
                Some("net::ERR_SOCKS_CONNECTION_FAILED") if begun.elapsed() < PATIENCE / 3 => {
                    eprintln!("      {url}: no connection after {:.1} s", begun.elapsed().as_secs_f32());
                }
                Some(why) => return Err(format!("{url}: {why}").into()),
                None => break,
            }
        }
        while self.next()?["method"] != "Page.loadEventFired" {}
        Ok(())
    }

    /// Waits until that JavaScript expression has a value on the page, looking again whenever the page changes.
    pub(super) fn until(&mut self, expression: &str) -> Result<Value, Failed> {
        let script = format!(
            "new Promise((found) => {{ \
               const look = () => {{ const value = {expression}; if (value) {{ watch.disconnect(); found(value); }} }}; \
               const watch = new MutationObserver(look); \
               watch.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }}); \
               look(); }})"
        );
        let request = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let said = self.ask("Runtime.evaluate", &request);
        let said = said.map_err(|e| format!("{expression}: {}", e.message().unwrap_or("no answer")))?;
        match said.get("exceptionDetails") {
            None => Ok(said["result"]["value"].clone()),
            Some(why) => Err(format!("{expression}: {why}").into()),
        }
    }

    /// Types it where the focus is.
    pub(super) fn type_text(&mut self, text: &str) -> Result<(), Failed> {
        self.ask("Input.insertText", &json!({ "text": text })).map(drop)
    }

    /// Presses Ctrl and that key, as the protocol names it.
    pub(super) fn press_ctrl(&mut self, key: &str, code: &str, number: u32) -> Result<(), Failed> {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({
                "type": kind, "modifiers": 2, "key": key, "code": code, "windowsVirtualKeyCode": number,
            });
            self.ask("Input.dispatchKeyEvent", &key)?;
        }
        Ok(())
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value, Failed> {
        self.count += 1;
        let mut request = json!({ "id": self.count, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.requests.write_all(format!("{request}\0").as_bytes())?;
        loop {
            let mut message = self.next()?;
            if message["id"] == self.count {
                return match message.get("error") {
                    None => Ok(message["result"].take()),
                    Some(why) => Err(format!("{method}: {why}").into()),
                };
            }
        }
    }

    fn next(&mut self) -> Result<Value, Failed> {
        Ok(self.messages.recv_timeout(PATIENCE).map_err(|e| format!("the browser says nothing: {e}"))?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
