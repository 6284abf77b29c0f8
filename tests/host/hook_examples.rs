//! The scripts of docs/warnings, with stand-ins for a mail server and a chat.

use super::hook::{HOOK, hook, install, warn};
use super::life::says;
use super::prelude::*;

tests! { Host:
    mail,
    chat,
}

/// A mail server of one mail.
const MAIL: &str = r#"$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:25", Listen => 1, ReuseAddr => 1) or die $!;
    open F, ">/run/mail-is-up"; $c = $s->accept; $/ = "\r\n"; print $c "220 hello\r\n";
    while (<$c>) {
        s/\r//; print;
        if (/^QUIT/) { print $c "221 bye\r\n"; last }
        if (/^RCPT TO:<alice/) { print $c "550 nobody of that name\r\n"; next }
        if (/^DATA/) { print $c "354 go on\r\n"; while (<$c>) { s/\r//; print; last if /^\.$/ } }
        print $c "250 ok\r\n";
    }"#;
/// A chat that is told one thing.
const CHAT: &str = r#"$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8199", Listen => 1, ReuseAddr => 1) or die $!;
    open F, ">/run/chat-is-up"; $c = $s->accept;
    while (<$c>) { print if /^POST/; $n = $1 if /^content-length: (\d+)/i; last if /^\r\n/ }
    read $c, $b, $n; print $b; print $c "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n""#;

/// A server beside the command; it is up.
fn serve(world: &World, program: &str, mark: &str) -> Result<Running, libtest_mimic::Failed> {
    let serving = world.spawn("root", &["timeout", "60", "perl", "-MIO::Socket::INET", "-e", program]);
    let up = format!("until [ -e {mark} ]; do sleep 0.05; done; rm {mark}");
    world.ok("root", &["timeout", "30", "sh", "-c", &up])?;
    Ok(serving)
}

fn script(name: &str) -> std::io::Result<String> {
    std::fs::read_to_string(format!("{}/docs/warnings/{name}", env!("CARGO_MANIFEST_DIR")))
}

fn mail(world: &World) -> Outcome {
    install(world, "")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    hook(world, &script("mail.sh")?)?;
    world.write("/etc/devbox/users.toml", &format!("[warnings]\ncommand = [\"{HOOK}\", \"@example.com\", \"root\"]\n"));
    let server = serve(world, MAIL, "/run/mail-is-up")?;
    let odd = format!("api: 1 changed file\nBcc: all@example.com\n.\n{}", " and more".repeat(100));
    warn(world, "alice", "abc", "stop-ahead", "90000", &odd).expect(0)?;
    let mail = server.finish().expect(0)?.out;
    says(&mail, "MAIL FROM:<devbox-warn@example.com>")?;
    // The first of them was refused.
    says(&mail, "RCPT TO:<alice@example.com>\nRCPT TO:<root@example.com>\nDATA\n")?;
    says(&mail, "\nTo: alice@example.com, root@example.com\nSubject: [")?;
    says(&mail, "] nobody uses alice's box abc; in 1 day it is stopped, and its data stays\n")?;
    says(&mail, "to prevent it: devbox-ctl keep-awake abc --for 8h\n")?;
    says(&mail, "git work in it that is nowhere else: api: 1 changed fileBcc: all@example.com. and more")?;
    ensure(mail.lines().all(|line| line.len() < 998), &mail)?;
    ensure(!mail.contains("\nBcc") && !mail.contains("to undo"), &mail)
}

/// One request, of whatever it is sent.
fn chat(world: &World) -> Outcome {
    install(world, "")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    hook(world, &script("webhook.sh")?)?;
    world.write("/etc/credstore/devbox-warn.url", "http://127.0.0.1:8199/secret-of-the-chat\n");
    let chat = serve(world, CHAT, "/run/chat-is-up")?;
    let odd = "it's \"<!channel>\" \\ `x` [click](https://evil.example/x) ![](https://evil.example/p.png)";
    warn(world, "alice", "abc", "stop-ahead", "200000", odd).expect(0)?;
    let said = chat.finish().expect(0)?.out;
    says(&said, "POST /secret-of-the-chat HTTP/1.1")?;
    says(&said, "{\"text\":\"")?;
    says(&said, "nobody uses alice's box abc; in 2 days it is stopped")?;
    says(&said, "it's \\\"  channel \\\" \\\\  x   click  https:// evil.example/x      https:// evil.example/p.png ")?;
    ensure(!said.contains(['<', '[', '(', '!']) && !said.contains("://evil"), &said)
}
