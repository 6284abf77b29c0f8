//! Golden cases: `tests/cases/NN-name/box.toml` in; `expected/`, the files of the box's folder and the plans, out.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes `expected/` anew, for a reader to judge in the diff. The host
//! tests hold the same files to Quadlet's real generator.

#![allow(clippy::unwrap_used)] // a case that cannot be read is a failed test

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use devbox_ctl::backup::Part;
use devbox_ctl::plan::{self, CreateRequest, Fill, Place, Plan, RestoreRequest, StartRequest, TrashedBy};
use devbox_ctl::quadlet::{Templates, UnitFile, names, render};
use devbox_ctl::spec::{BoxSpec, Tailnet};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn produced(spec: &BoxSpec) -> BTreeMap<String, String> {
    let files = render(spec, &Templates::default(), "/usr/bin/devbox-ctl").unwrap();
    let mut out: BTreeMap<_, _> = files.iter().map(|f| (f.name.clone(), f.text.clone())).collect();
    let name = &spec.name;
    let brokered = spec.tailnet != Tailnet::Own;
    let sizes = brokered.then_some((spec.cpu, spec.memory));
    let create =
        plan::create(CreateRequest { name, files, start: true, reserve: sizes, volumes_there: &[], fill: None });
    let into = |volume: String, part| Fill { volume, part, image: spec.image.clone(), dev: spec.dev };
    let fill = vec![into(names::home_volume(name), Part::Home), into(names::state_volume(name), Part::State)];
    let from_backup = plan::create(CreateRequest {
        name,
        files: vec![UnitFile { name: names::SPEC_FILE.to_owned(), text: String::new() }],
        start: true,
        reserve: sizes,
        volumes_there: &[],
        fill: Some(fill),
    });
    plan::check(&from_backup).unwrap();
    out.insert("plan-create-from-backup.txt".to_owned(), text(&from_backup));
    let request =
        StartRequest { name, loaded: true, marked: Some("by its owner"), creating: false, ask: sizes, joins: false };
    let plans = [
        create,
        plan::start(StartRequest { loaded: false, creating: true, ..request }),
        plan::stop(name, "by its owner"),
        plan::restart(StartRequest { marked: None, ..request }),
        plan::destroy(name, Place::Boxes, &[], brokered),
        plan::trash(name, TrashedBy::Owner, None, Some(14), brokered),
        plan::restore(RestoreRequest { name, start: true, marked: None, ask: sizes }),
    ];
    for plan in plans {
        plan::check(&plan).unwrap();
        out.insert(format!("plan-{}.txt", serde_json::to_value(plan.verb).unwrap().as_str().unwrap()), text(&plan));
    }
    out
}

fn text(plan: &Plan) -> String {
    let steps =
        |list: &[plan::Step]| -> String { list.iter().map(|s| format!("  {}\n", s.describe(&plan.name))).collect() };
    let refused = if plan.refused.is_empty() { String::new() } else { format!("if refused\n{}", steps(&plan.refused)) };
    format!("do\n{}undo\n{}{refused}", steps(&plan.steps), steps(&plan.undo))
}

fn listing(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    entries
        .map(|e| {
            let path = e.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn every_case_gives_what_is_expected() {
    let mut wrong = Vec::new();
    for case in cases() {
        let spec = BoxSpec::from_toml(&fs::read_to_string(case.join("box.toml")).unwrap()).unwrap();
        let expected = case.join("expected");
        let produced = produced(&spec);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let _ = fs::remove_dir_all(&expected);
            fs::create_dir_all(&expected).unwrap();
            for (name, text) in &produced {
                fs::write(expected.join(name), text).unwrap();
            }
        }
        let listed = listing(&expected);
        for name in produced.keys().chain(listed.keys()) {
            if produced.get(name) != listed.get(name) {
                wrong.push(format!("{}/{name}", case.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(wrong.is_empty(), "these differ: {wrong:?}");
}
