//! From sources to a configuration: first pass, roles, merge, second pass.

use std::collections::BTreeMap;

use figment::{
    Figment,
    providers::Serialized,
    value::{Dict, Value},
};
use wakumix_role_api::RoleName;
use wakumix_sphinx::Weaknesses;

use super::{
    Config, check,
    check::Keys,
    fleet::SWITCHES,
    layers::{self, Entry, Inputs, Judge},
    presets,
    problem::{Problem, Problems, Source},
};

/// A configuration without a problem.
#[derive(Debug)]
pub struct Loaded {
    /// The values in force.
    pub config: Config,
    /// The node's private keys.
    pub keys: Keys,
    /// Where each value comes from, by the key's path; keys that are not set are absent.
    pub sources: BTreeMap<&'static str, Source>,
    /// What the operator should know, one sentence each.
    pub warnings: Vec<String>,
    /// Countermeasures that are missing: none, and none can be named in a configuration. For the attack suite.
    pub weaknesses: Weaknesses,
}

/// Reads and checks a configuration, key files included.
///
/// # Errors
/// Everything that is wrong with it, in all layers at once.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let mut judge = Judge::default();
    let environment = layers::environment(&inputs.environment);
    let flags = layers::flags(&inputs.flags);
    let file = match inputs.file().map(|path| layers::file(&path)).transpose() {
        Ok(file) => file.unwrap_or_default(),
        Err(problem) => {
            // Without the file nothing can be said about the whole, but about the other layers one by one.
            judge.problems.push(problem);
            judge.layer(environment);
            judge.layer(flags);
            return Err(Problems(judge.problems));
        }
    };
    together(judge, [file, environment, flags])
}

/// Judges the layers that were written, those of later ones above, over defaults and preset, and then what they mean together.
pub(super) fn together(mut judge: Judge, written: [Vec<Entry>; 3]) -> Result<Loaded, Problems> {
    let preset = layers::last_text(&written.each_ref().map(Vec::as_slice), "preset");
    judge.layer(layers::defaults());
    judge.layer(preset.and_then(|name| presets::find(name.trim())).map(layers::preset).unwrap_or_default());
    written.into_iter().for_each(|layer| judge.layer(layer));
    apply_switches(&mut judge);

    let config = merge(&mut judge)?;
    let keys = check::check(&config, &mut judge);
    match keys {
        Some(keys) if judge.problems.is_empty() => {
            Ok(Loaded { config, keys, sources: judge.sources, warnings: judge.warnings, weaknesses: Weaknesses::NONE })
        }
        _ => Err(Problems(judge.problems)),
    }
}

/// Turns the fleet's switches into roles, or says where they contradict the roles that were named.
fn apply_switches(judge: &mut Judge) {
    let Some(source) = judge.sources.get("roles").cloned() else {
        let on = |name: &str, default| judge.switches.get(name).map_or(default, |(on, _)| *on);
        let roles: Vec<&str> = SWITCHES
            .iter()
            .filter(|switch| on(switch.name, switch.default))
            .flat_map(|switch| switch.roles.iter().map(|role| role.as_str()))
            .collect();
        let source = judge.switches.values().last().map_or(Source::Derived, |(_, source)| source.clone());
        judge.sources.insert("roles", source);
        judge.layers.push(Dict::from([("roles".to_owned(), Value::from(roles))]));
        return;
    };
    let names = judge.layers.iter().rev().find_map(|layer| layer.get("roles")).and_then(Value::as_array);
    let named: Vec<&str> = names.unwrap_or_default().iter().filter_map(Value::as_str).collect();
    for switch in SWITCHES {
        let Some((on, from)) = judge.switches.get(switch.name) else { continue };
        let has = |role: &RoleName| named.contains(&role.as_str());
        let agrees = if *on { switch.roles.iter().all(has) } else { !switch.roles.iter().any(has) };
        if !agrees && !judge.bad.contains("roles") {
            judge.problems.push(Problem::new(
                format!("`{} = {on}` in {from} contradicts `roles = [{}]` in {source}", switch.name, named.join(", ")),
                format!("remove `{}` and let `roles` decide", switch.name),
            ));
        }
    }
}

/// Merges the layers into the typed tree. The first pass has judged every value, so an error here is a disagreement
/// between the table of keys and the tree: a bug, reported as a problem.
fn merge(judge: &mut Judge) -> Result<Config, Problems> {
    let layers = std::mem::take(&mut judge.layers);
    let figment = layers.into_iter().fold(Figment::new(), |figment, layer| figment.merge(Serialized::defaults(layer)));
    let mut config: Config = figment.extract().map_err(|error| {
        let mut problems = std::mem::take(&mut judge.problems);
        problems.push(Problem::new(
            format!("the configuration does not fit together: {error}"),
            "this is a bug of wakumix; please report it",
        ));
        Problems(problems)
    })?;
    config.nodekey = judge.secrets.remove("nodekey");
    config.mixkey = judge.secrets.remove("mixkey");
    Ok(config)
}
