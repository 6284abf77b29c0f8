//! What must hold of every plan, checked apart from the code that makes plans.

use super::{Place, Plan, Step, Verb};
use crate::quadlet::names;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a plan to {verb:?} {name} is wrong: {what}")]
pub struct Broken {
    pub verb: Verb,
    pub name: String,
    pub what: &'static str,
}

/// Refuses a plan that could touch another box, lose data or leave something behind.
pub fn check(plan: &Plan) -> Result<(), Broken> {
    for steps in [&plan.steps, &plan.undo, &plan.refused] {
        (0..steps.len()).try_for_each(|at| check_step(plan, steps, at))?;
    }
    check_whole(plan)
}

/// One step, among those before and after it.
fn check_step(plan: &Plan, steps: &[Step], at: usize) -> Result<(), Broken> {
    let broken = |what| Err(Broken { verb: plan.verb, name: plan.name.to_string(), what });
    let unit = names::service(&plan.name);
    let slice = names::slice(&plan.name);
    let volume_services = names::volume_services(&plan.name);
    let volumes = names::volumes(&plan.name);
    let step = &steps[at];
    let before = &steps[..at];
    match step {
        Step::Start { unit: u } | Step::Restart { unit: u } if *u != unit => {
            return broken("it starts what is not this box");
        }
        Step::Stop { unit: u } | Step::ResetFailed { unit: u }
            if *u != unit && *u != slice && !volume_services.contains(u) =>
        {
            return broken("it stops what is not this box's");
        }
        Step::RemoveVolume { volume } => {
            if !volumes.contains(volume) {
                return broken("it deletes a volume that is not this box's");
            }
            if !before.contains(&Step::Stop { unit: unit.clone() }) {
                return broken("it deletes a volume of a box that may run");
            }
            let kept = |s: &Step| matches!(s, Step::MarkDestroying { keep_volumes } if keep_volumes.contains(volume));
            if before.iter().any(kept) {
                return broken("it deletes a volume that is to be kept");
            }
            if !before.iter().any(|s| matches!(s, Step::MarkDestroying { .. })) {
                return broken("it deletes before it says so");
            }
        }
        Step::FillVolume(fill) => {
            if !volumes.contains(&fill.volume) {
                return broken("it fills a volume that is not this box's");
            }
            // What may have been started may hold work, and what was there before does.
            if !before.contains(&Step::Publish) || before.iter().any(|s| matches!(s, Step::Start { .. })) {
                return broken("it fills a volume of a box that may run");
            }
            if !plan.undo.contains(&Step::RemoveVolume { volume: fill.volume.clone() }) {
                return broken("it fills a volume that was there");
            }
        }
        Step::MarkFilled if steps[at..].iter().any(|s| matches!(s, Step::FillVolume(_))) => {
            return broken("it says that volumes are whole before they are");
        }
        Step::Withdraw if steps[at..].iter().any(|s| matches!(s, Step::RemoveVolume { .. })) => {
            return broken("it forgets the box before its volumes are gone");
        }
        Step::Release if !before.contains(&Step::Withdraw) => {
            return broken("it gives a name away that a box has");
        }
        Step::Depart if !before.contains(&Step::Withdraw) && !before.contains(&Step::ToTrash) => {
            return broken("it takes a box off the tailnet that is there");
        }
        Step::ToTrash if !before.contains(&Step::Stop { unit: unit.clone() }) => {
            return broken("it moves a box away that may run");
        }
        Step::ToTrash if !before.contains(&Step::MarkTrashing) => {
            return broken("it moves a box away before it says so");
        }
        Step::ToTrash if !steps[at..].contains(&Step::Reload) || !steps[at..].contains(&Step::Settle) => {
            return broken("it leaves units behind that systemd knows");
        }
        Step::FromTrash if !before.contains(&Step::MarkRestoring) => {
            return broken("it brings a box back before it says so");
        }
        Step::Discard if !before.contains(&Step::Withdraw) || !before.contains(&Step::Reload) => {
            return broken("it deletes units that systemd may still know");
        }
        _ => {}
    }
    Ok(())
}

fn check_whole(plan: &Plan) -> Result<(), Broken> {
    let broken = |what| Err(Broken { verb: plan.verb, name: plan.name.to_string(), what });
    let reserves = plan.steps.iter().any(|s| matches!(s, Step::Reserve { .. }));
    if reserves != plan.steps.contains(&Step::Commit) {
        return broken("it reserves a name and does not take it");
    }
    let has_file = |name| plan.files.iter().any(|f| f.name == name);
    if has_file(names::FILLING_FILE) != plan.steps.contains(&Step::MarkFilled)
        || (plan.steps.iter().any(|s| matches!(s, Step::FillVolume(_)))
            && !(has_file(names::FILLING_FILE) && has_file(names::STOPPED_FILE)))
    {
        return broken("a box whose volumes are not whole could be taken for one that is");
    }
    let publishes = plan.steps.contains(&Step::Publish);
    if publishes && reserves && !plan.undo.contains(&Step::Release) {
        return broken("it keeps a name for nothing");
    }
    if publishes && !plan.undo.contains(&Step::Withdraw) {
        return broken("it cannot be undone");
    }
    if publishes == plan.files.is_empty() {
        return broken("its files and its steps disagree");
    }
    if publishes && !plan.steps.contains(&Step::Settle) {
        return broken("it never ends");
    }
    if plan.files.iter().any(|f| f.name.contains('/') || f.name.starts_with('.')) {
        return broken("it writes outside the box's folder");
    }
    if plan.steps.contains(&Step::FromTrash)
        && (!plan.undo.contains(&Step::ToTrash) || plan.undo.iter().any(|s| matches!(s, Step::NoteTrashed { .. })))
    {
        return broken("it does not put back what it took out of the trash, as it was");
    }
    if (plan.place == Place::Trash) != plan.refused.iter().all(|s| *s == Step::Settle)
        && plan.steps.iter().any(|s| matches!(s, Step::Trash | Step::Restore { .. }))
    {
        return broken("a refusal of the broker's leaves it neither here nor there");
    }
    if plan.verb != Verb::Create && [&plan.undo, &plan.refused].into_iter().flatten().any(is_loss) {
        return broken("to take it back would lose data");
    }
    if plan.verb != Verb::Destroy && plan.steps.iter().any(is_loss) {
        return broken("it removes without being asked to");
    }
    Ok(())
}

fn is_loss(step: &Step) -> bool {
    matches!(step, Step::RemoveVolume { .. } | Step::Withdraw | Step::Discard | Step::Release)
}

#[cfg(test)]
mod tests {
    use super::super::{
        CreateRequest, Fill, RestoreRequest, StartRequest, TrashedBy, create, destroy, put_back, restart, restore,
        settle, start, stop, trash, trash_further,
    };
    use super::*;
    use crate::backup::Part;
    use crate::quadlet::UnitFile;
    use crate::spec::{DevIs, ImageRef};
    use proptest::prelude::*;

    fn file(name: &str) -> UnitFile {
        UnitFile { name: name.to_owned(), text: String::new() }
    }

    proptest! {
        #[test]
        fn every_plan_holds(name in "[a-z][a-z0-9]{2,8}(-[a-z0-9]{1,4}){0,2}", start_it: bool, kept in 0_usize..3, loaded: bool, marked: bool, creating: bool, brokered: bool, backup: bool, joins: bool) {
            let name = name.parse().unwrap();
            let ask = brokered.then(|| ("2".parse().unwrap(), "4G".parse().unwrap()));
            let request = StartRequest { name: &name, loaded, marked: marked.then_some("by its owner"), creating, ask, joins };
            let there = &names::volumes(&name)[..kept];
            let fills = || names::volumes(&name).into_iter().skip(kept).map(|volume| Fill {
                volume, part: Part::Home, image: ImageRef::default(), dev: DevIs::Subordinate,
            }).collect();
            let fill = backup.then(fills);
            let made = create(CreateRequest { name: &name, files: vec![file("box.toml")], start: start_it, reserve: ask, volumes_there: there, fill });
            for volume in there {
                let removal = Step::RemoveVolume { volume: volume.clone() };
                prop_assert!(!made.undo.contains(&removal));
            }
            let back = RestoreRequest { name: &name, start: start_it, marked: marked.then_some("by its owner"), ask };
            let moves = [
                trash(&name, TrashedBy::Owner, None, Some(14), brokered),
                trash_further(&name, Place::Boxes, brokered),
                trash_further(&name, Place::Trash, brokered),
                restore(back),
                put_back(&name, brokered),
            ];
            for plan in &moves {
                let all = plan.steps.iter().chain(&plan.undo).chain(&plan.refused);
                prop_assert!(!all.into_iter().any(is_loss), "{:?}", plan);
            }
            let destroys = [Place::Boxes, Place::Trash].map(|place| destroy(&name, place, there, brokered));
            let others = [made, start(request), stop(&name, "by its owner"), restart(request), settle(&name, ask)];
            for plan in others.into_iter().chain(destroys).chain(moves) {
                prop_assert_eq!(check(&plan), Ok(()));
            }
        }
    }

    #[test]
    fn wrong_plans_are_caught() {
        let name: crate::spec::BoxName = "abc".parse().unwrap();
        let good = destroy(&name, Place::Boxes, &[], true);
        let spoil = |f: fn(&mut Plan)| {
            let mut plan = good.clone();
            f(&mut plan);
            check(&plan).unwrap_err().what
        };
        assert_eq!(spoil(|p| p.verb = Verb::Stop), "it removes without being asked to");
        assert_eq!(spoil(|p| drop(p.steps.remove(1))), "it deletes a volume of a box that may run");
        assert_eq!(spoil(|p| drop(p.steps.remove(0))), "it deletes before it says so");
        assert_eq!(spoil(|p| p.steps.rotate_right(7)), "it forgets the box before its volumes are gone");
        assert_eq!(
            spoil(|p| p.steps[0] = Step::MarkDestroying { keep_volumes: vec!["abc-data".to_owned()] }),
            "it deletes a volume that is to be kept"
        );
        assert_eq!(
            spoil(|p| p.steps.insert(2, Step::RemoveVolume { volume: "other-data".to_owned() })),
            "it deletes a volume that is not this box's"
        );
        assert_eq!(
            spoil(|p| p.steps.push(Step::Stop { unit: "x.service".to_owned() })),
            "it stops what is not this box's"
        );
        assert_eq!(spoil(|p| p.steps.retain(|s| *s != Step::Reload)), "it deletes units that systemd may still know");
        assert_eq!(spoil(|p| p.steps.insert(1, Step::Depart)), "it takes a box off the tailnet that is there");
        let fill = Fill {
            volume: "abc-data".to_owned(),
            part: Part::Home,
            image: ImageRef::default(),
            dev: DevIs::Subordinate,
        };
        let request = |fill| CreateRequest {
            name: &name,
            files: vec![file("box.toml")],
            start: true,
            reserve: None,
            volumes_there: &[],
            fill: Some(vec![fill]),
        };
        let spoil_fill = |f: fn(&mut Plan)| {
            let mut plan = create(request(fill.clone()));
            f(&mut plan);
            check(&plan).unwrap_err().what
        };
        assert_eq!(
            check(&create(request(Fill { volume: "other-data".to_owned(), ..fill.clone() }))).unwrap_err().what,
            "it fills a volume that is not this box's"
        );
        assert_eq!(
            spoil_fill(|p| p.steps.insert(2, Step::Start { unit: "devbox-abc.service".to_owned() })),
            "it fills a volume of a box that may run"
        );
        assert_eq!(spoil_fill(|p| p.steps.swap(2, 3)), "it says that volumes are whole before they are");
        assert_eq!(
            spoil_fill(|p| p.undo.retain(|s| !matches!(s, Step::RemoveVolume { .. }))),
            "it fills a volume that was there"
        );
        let half = "a box whose volumes are not whole could be taken for one that is";
        assert_eq!(spoil_fill(|p| p.files.retain(|f| f.name != "filling")), half);
        assert_eq!(spoil_fill(|p| p.files.retain(|f| f.name != "stopped")), half);
        assert_eq!(spoil_fill(|p| p.steps.retain(|s| *s != Step::MarkFilled)), half);
        assert_eq!(spoil(|p| p.steps.push(Step::Publish)), "it cannot be undone");
        assert_eq!(spoil(|p| p.files.push(file("x"))), "its files and its steps disagree");
    }

    #[test]
    fn the_trash_loses_nothing() {
        let name: crate::spec::BoxName = "abc".parse().unwrap();
        let spoil = |good: &Plan, f: &dyn Fn(&mut Plan)| {
            assert_eq!(check(good), Ok(()));
            let mut plan = good.clone();
            f(&mut plan);
            check(&plan).unwrap_err().what
        };
        let removal = Step::RemoveVolume { volume: "abc-data".to_owned() };
        let away = trash(&name, TrashedBy::Owner, None, Some(14), true);
        let marked = Step::MarkDestroying { keep_volumes: Vec::new() };
        let remove = |p: &mut Plan| {
            p.steps.insert(0, marked.clone());
            p.steps.insert(8, removal.clone());
        };
        assert_eq!(spoil(&away, &remove), "it removes without being asked to");
        assert_eq!(spoil(&away, &|p| p.undo.push(Step::Withdraw)), "to take it back would lose data");
        assert_eq!(spoil(&away, &|p| p.steps.push(Step::Release)), "it gives a name away that a box has");
        assert_eq!(spoil(&away, &|p| drop(p.steps.remove(1))), "it moves a box away before it says so");
        let stop = Step::Stop { unit: "devbox-abc.service".to_owned() };
        assert_eq!(spoil(&away, &|p| p.steps.retain(|s| *s != stop)), "it moves a box away that may run");
        assert_eq!(
            spoil(&away, &|p| p.steps.retain(|s| *s != Step::Reload)),
            "it leaves units behind that systemd knows"
        );
        assert_eq!(spoil(&away, &|p| p.refused.clear()), "a refusal of the broker's leaves it neither here nor there");
        let sizes = ("2".parse().unwrap(), "4G".parse().unwrap());
        let back = restore(RestoreRequest { name: &name, start: true, marked: None, ask: Some(sizes) });
        assert_eq!(spoil(&back, &|p| p.undo.clear()), "it does not put back what it took out of the trash, as it was");
        assert_eq!(spoil(&back, &|p| drop(p.steps.remove(0))), "it brings a box back before it says so");
    }
}
