//! Syncthing's page, as the owner's other machines have it: over a real tailnet, with a real browser.

use std::time::Instant;

use libtest_mimic::Failed;

use super::browser::Browser;
use super::editor::{let_to_ssh, page, reachable};
use super::login::text;
use super::syncthing::{InBox, Syncthing};
use super::prelude::*;

tests! { Host:
    its_page_is_its_owners_alone,
    no_page_of_elsewhere_drives_it,
    a_browser_shows_its_page,
}

const URL: &str = "http://abc:8384/";

fn await_syncthing(world: &World) -> Outcome {
    let wait = ["s6-svwait", "-U", "-t", "60000", "/run/s6/syncthing", "/run/s6/syncthing-page"];
    world.ctl(&[&["exec", "--root", "abc", "--"], &wait[..]].concat()).expect(0).map(drop)
}

fn its_page_is_its_owners_alone(world: &World) -> Outcome {
    let (tailnet, alice) = reachable(world, &["--with-syncthing"])?;
    await_syncthing(world)?;
    let address = tailnet.node("abc").map_err(text)?.ok_or("no node")?["ipAddresses"][0].clone();
    let by_address = format!("http://{}:8384/", address.as_str().ok_or("no address")?);
    let expect_page = |url: &str| -> Outcome {
        let (_, said) = page(&alice, &[url])?;
        ensure(said.ends_with("\n200") && said.contains("Syncthing"), &format!("{url}: {said}"))
    };
    let begun = Instant::now();
    expect_page(URL)?;
    eprintln!("      the first page: {:.2} s", begun.elapsed().as_secs_f32());
    let begun = Instant::now();
    expect_page(URL)?;
    eprintln!("      the second: {:.2} s", begun.elapsed().as_secs_f32());
    expect_page(&by_address)?;
    expect_page("http://abc.tailnet.test:8384/")?;

    // For bob there is no such box; and where he may reach its ssh, that is all.
    let bob = tailnet.device("bob", "bob-laptop").map_err(text)?;
    let refused = |url: &str| -> Outcome {
        let stranger = page(&bob, &["--max-time", "5", url])?;
        ensure(stranger.0 != 0 && stranger.1.ends_with("\n000"), &format!("bob has {stranger:?} of {url}"))
    };
    ensure(!bob.sees("abc").map_err(text)?, "bob sees it")?;
    let_to_ssh(&tailnet, &bob)?;
    refused(URL)?;
    refused(&by_address)?;
    expect_page(URL)?;

    // Nor for the host, or for another box of alice's own.
    let addresses = world.ok("bob", &["hostname", "-I"])?;
    for address in addresses.split_whitespace().chain(["127.0.0.1", "[::1]"]) {
        world.run("bob", &["curl", "--silent", "--max-time", "5", &format!("http://{address}:8384/")]).expect(7)?;
    }
    world.ctl(&["create", "other", "--wait-tailnet"]).expect(0)?;
    let from_other = |options: &[&str]| {
        world.ctl(&[&["exec", "other", "--", "curl", "--silent", "--max-time", "5"], options].concat())
    };
    from_other(&["http://127.0.0.1:8384/"]).expect(7)?;
    ensure(from_other(&["--proxy", "socks5h://127.0.0.1:1055", &by_address]).code != 0, "another box has the page")?;
    expect_page(URL)?;
    listens(world)?;

    // Killed it is back.
    let killed = "s6-svlisten1 -R /run/s6/syncthing-page pkill -KILL -f '[p]age.js'";
    world.ctl(&["exec", "--root", "abc", "--", "sh", "-c", killed]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "pgrep", "-f", "[o]n-connect 8384"]).expect(0)?;
    expect_page(URL)?;
    world.ctl(&["exec", "--root", "abc", "--", "s6-svc", "-d", "-wd", "-T", "20000", "/run/s6/syncthing"]).expect(0)?;
    let (_, without) = page(&alice, &[URL])?;
    ensure(without.ends_with("\n502"), &format!("without Syncthing: {without}"))
}

/// On the box's own loopback and nowhere else; Syncthing itself for dev alone.
fn listens(world: &World) -> Outcome {
    let inside = |root: &[&str], script: &str| {
        world.ctl(&[&["exec"], root, &["abc", "--", "sh", "-c", script]].concat()).expect(0).map(|ran| ran.out)
    };
    let ports = "awk '$4 == \"0A\" && $2 ~ /:20C0$/ { print $2 }' /proc/net/tcp /proc/net/tcp6";
    let ports = inside(&[], ports)?;
    same(&ports, &"0100007F:20C0\n", &format!("listens on {ports}"))?;
    let ask = "curl --silent --output /dev/null --unix-socket /run/devbox/syncthing/page http://localhost/";
    inside(&[], ask)?;
    let nobody = format!("! setpriv --reuid nobody --regid nogroup --clear-groups {ask}");
    inside(&["--root"], &nobody).map(drop)
}

fn no_page_of_elsewhere_drives_it(world: &World) -> Outcome {
    let (_tailnet, alice) = reachable(world, &["--with-syncthing"])?;
    await_syncthing(world)?;
    let page = |options: &[&str]| page(&alice, options).map(|(_, said)| said);
    for host in ["abc.example.com:8384", "abc.example.com", "evil:8384", "100.64.77.77:8384", "localhost.example.com"] {
        let said = page(&["--header", &format!("Host: {host}"), URL])?;
        ensure(said.ends_with("\n403"), &format!("as {host}: {said}"))?;
    }
    world
        .ctl(&["exec", "abc", "--", "curl", "--silent", "--fail", "--output", "x", "http://localhost:8384/"])
        .expect(0)?;
    // With its key, so that Syncthing itself would do it.
    let key = world.ctl(&["exec", "abc", "--", "cat", ".config/syncthing/config.xml"]).expect(0)?.out;
    let key = key.split("<apikey>").nth(1).and_then(|rest| rest.split('<').next()).ok_or("no key")?;
    let key = format!("X-API-Key: {key}");
    let ping = format!("{URL}rest/system/ping");
    let post = |header: &str| -> Result<String, Failed> {
        page(&["--request", "POST", "--header", &key, "--header", header, &ping])
    };
    for header in ["X: nothing", "Origin: http://abc:8384", "Sec-Fetch-Site: same-origin"] {
        let said = post(header)?;
        ensure(said.ends_with("\n200") && said.contains("pong"), &format!("with {header}: {said}"))?;
    }
    let foreign = [
        "Origin: http://abc.example.com:8384",
        "Origin: http://example.com",
        // Of another page in the box, or in a frame that is nobody's.
        "Origin: http://abc:3000",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ];
    for header in foreign {
        let said = post(header)?;
        ensure(said.ends_with("\n403") && !said.contains("pong"), &format!("with {header}: {said}"))?;
    }
    // An answer that is given before all of the question was read comes through.
    for _ in 0..20 {
        let nothing = format!("{URL}rest/nothing");
        let said = page(&["--header", &key, "--data", "some", &nothing])?;
        ensure(said.ends_with("\n404"), &format!("nothing: {said}"))?;
    }
    // A link from elsewhere leads there all the same.
    let said = page(&["--header", "Sec-Fetch-Site: cross-site", URL])?;
    ensure(said.ends_with("\n200"), &said)
}

fn a_browser_shows_its_page(world: &World) -> Outcome {
    let (_tailnet, alice) = reachable(world, &["--with-syncthing"])?;
    await_syncthing(world)?;
    let id = InBox(world).id()?;
    let mut browser = Browser::on(&alice)?;
    let begun = Instant::now();
    browser.go(URL)?;
    let short = id.split('-').next().ok_or("no id")?;
    let shown = format!("(document.body.innerText.includes('{short}') && document.body.innerText.includes('sync'))");
    browser.until(&shown)?;
    eprintln!("      the device is on the page: {:.2} s", begun.elapsed().as_secs_f32());

    // And it works: what it asks Syncthing to do has the page's own cookie and origin.
    let pause = "document.querySelector('button[ng-click*=\"setFolderPause(folder.id, true)\"]')";
    browser.until(&format!("(() => {{ const button = {pause}; button?.click(); return Boolean(button); }})()"))?;
    browser.until("document.body.innerText.includes('Paused')")?;
    let folder = InBox(world).ask("GET", "/rest/config/folders/default", None)?;
    same(&folder["paused"], &true, &folder.to_string())
}
