//! The variables of a box, as they are given to `create`.

use std::path::PathBuf;

use super::error::{Failure, Kind};
use crate::spec::EnvVar;

/// Of files first, so that what was typed counts: of two values the later one is kept.
pub(super) fn given(typed: &[String], files: &[PathBuf]) -> Result<Vec<EnvVar>, Failure> {
    let own = |key: &str| std::env::var(key).ok();
    let mut all: Vec<EnvVar> = Vec::new();
    let mut add = |variable: EnvVar| {
        all.retain(|old| old.key() != variable.key());
        all.push(variable);
    };
    for file in files {
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|e| Failure::new(Kind::InvalidInput, format!("{shown} cannot be read: {e}")))?;
        let variables = EnvVar::of_lines(&text, own).map_err(|(line, why)| {
            let failure = Failure::from(why);
            Failure { message: format!("{shown}, line {line}: {}", failure.message), ..failure }
        })?;
        variables.into_iter().for_each(&mut add);
    }
    for variable in typed {
        add(EnvVar::given(variable, own)?);
    }
    Ok(all)
}
