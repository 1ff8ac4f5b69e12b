//! From sources to a configuration: first pass, roles, merge, second pass.

use std::collections::BTreeMap;

use figment::{
    Figment,
    providers::Serialized,
    value::{Dict, Value},
};
use wakumix_role_api::{
    Role, RoleName,
    config::{Key, Settings, Values, flag},
};
use wakumix_sphinx::Weaknesses;
use wakumix_telemetry::logging;

use super::{
    Config, check,
    check::Keys,
    derived, kind,
    layers::{self, Entry, Inputs, Judge},
    presets,
    problem::{ConfigSource, Problem, Problems},
    schema::Schema,
    wakunode2::{self, SWITCHES, Switch},
};
use crate::roles::{NotConfigured, Roles, RolesError};

/// The key that REST shares with the sender.
pub(super) const ALLOW_DIRECT: &str = "sender.allow-direct";

/// A configuration without a problem.
#[derive(Debug)]
pub struct Loaded {
    /// The node's own values in force.
    pub config: Config,
    /// The values in force of every key, as texts.
    pub values: Values,
    /// The node's private keys, and the token of REST.
    pub keys: Keys,
    /// Where each value comes from, by the key's path; keys that are not set are absent.
    pub sources: BTreeMap<&'static str, ConfigSource>,
    /// What the operator should know, one sentence each.
    pub warnings: Vec<String>,
    /// Where the operator has said that a relay may do without proofs in a network of proofs.
    pub(crate) without_proofs: Option<ConfigSource>,
    /// The roles that this node could have.
    pub roles: Roles,
    /// Every key.
    pub(crate) schema: Schema,
    /// Countermeasures that are missing: none, and none can be named in a configuration. For the attack suite.
    pub weaknesses: Weaknesses,
}

impl Loaded {
    /// Whether messages may be pushed without the mixnet, by whatever role.
    pub(crate) fn allows_direct(&self) -> bool {
        allows_direct(&self.settings())
    }

    /// What the roles are configured from.
    pub(crate) fn settings(&self) -> Settings<'_> {
        Settings { values: &self.values, forwards: self.config.forwards() }
    }

    /// The roles that the node runs, configured, in the order in which they start.
    ///
    /// # Errors
    /// None, since this configuration was checked with the same roles.
    pub(crate) fn configured_roles(&self) -> Result<Vec<Box<dyn Role>>, NotConfigured> {
        self.roles.configured(&self.config.roles, &self.settings())
    }
}

/// As [`Loaded::allows_direct`]; a node that cannot have the sender role has no such key. The first pass has judged its value.
pub(super) fn allows_direct(settings: &Settings<'_>) -> bool {
    settings.read(ALLOW_DIRECT, &flag(), true).unwrap_or(true)
}

/// Reads and checks a configuration, key files included.
///
/// # Errors
/// Everything that is wrong with it, in all layers at once.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let schema = Schema::new(&inputs.roles).map_err(|RolesError { problem }| Problem::bare(problem))?;
    let mut judge = Judge::new(schema.clone());
    let environment = layers::environment(&inputs.environment);
    let flags = layers::flags(&inputs.flags);
    let file = match inputs.file().map(|path| layers::file(&schema, &path)).transpose() {
        Ok(Some((file, places))) => {
            judge.places = Some(places);
            file
        }
        Ok(None) => Vec::new(),
        Err(problem) => {
            // Without the file nothing can be said about the whole, but about the other layers one by one.
            judge.problems.push(problem);
            judge.layer(environment);
            judge.layer(flags);
            return Err(Problems(judge.problems));
        }
    };
    together(judge, &inputs.roles, [file, environment, flags])
}

/// The form and the name of log lines as they were written, whatever else is wrong: the problems themselves are to have it.
#[must_use]
pub fn log_form(inputs: &Inputs) -> (logging::Format, Option<String>) {
    let Ok(schema) = Schema::new(&inputs.roles) else { return Default::default() };
    let file = inputs.file().and_then(|path| layers::file(&schema, &path).ok());
    let layers = [
        file.map(|(file, _)| file).unwrap_or_default(),
        layers::environment(&inputs.environment),
        layers::flags(&inputs.flags),
    ];
    let text = |key: &str| {
        let text = layers::last_text(&layers.each_ref().map(Vec::as_slice), key)?;
        schema.find(key)?.kind.read(text.trim()).ok()
    };
    let format =
        if text("log-format").as_deref() == Some("json") { logging::Format::Json } else { logging::Format::Text };
    (format, text("log-name"))
}

/// Judges the layers that were written, those of later ones above, over defaults and preset, and then what they mean together.
pub(super) fn together(mut judge: Judge, roles: &Roles, written: [Vec<Entry>; 3]) -> Result<Loaded, Problems> {
    let last = |name| layers::last_text(&written.each_ref().map(Vec::as_slice), name);
    let named = last("preset").and_then(|name| presets::find(&name));
    let implied = last("cluster-id").and_then(|cluster| presets::of_cluster(&cluster, named));
    let defaults = layers::defaults(&judge.schema);
    judge.layer(defaults);
    judge.presets = [implied, named].into_iter().flatten().collect();
    for preset in judge.presets.clone() {
        let layer = layers::preset(&judge.schema, preset);
        judge.layer(layer);
    }
    written.into_iter().for_each(|layer| judge.layer(layer));
    apply_switches(&mut judge, roles);
    derived::apply(&mut judge, roles);

    let (config, values) = merge(&mut judge, roles)?;
    let keys = check::check(&config, &Settings { values: &values, forwards: config.forwards() }, roles, &mut judge);
    match keys {
        Some(keys) if judge.problems.is_empty() => Ok(Loaded {
            config,
            values,
            keys,
            sources: judge.sources,
            without_proofs: judge.options.remove(wakunode2::RLN).map(|(_, source)| source),
            warnings: judge.warnings,
            roles: roles.clone(),
            schema: judge.schema,
            weaknesses: Weaknesses::NONE,
        }),
        _ => Err(Problems(judge.problems)),
    }
}

/// Turns nwaku's switches into roles, or says where they contradict the roles that were named.
fn apply_switches(judge: &mut Judge, built: &Roles) {
    if !judge.sources.contains_key("roles") {
        // A default turns on what this build has; what is written is taken at its word.
        let has = |switch: &&Switch| match judge.switches.get(switch.name) {
            Some((on, _)) => *on,
            None => switch.default && switch.roles.iter().all(|role| built.find(*role).is_some()),
        };
        let roles: Vec<&str> =
            SWITCHES.iter().filter(has).flat_map(|switch| switch.roles.iter().map(|role| role.as_str())).collect();
        let source = judge.switches.values().last().map_or(ConfigSource::Derived, |(_, source)| source.clone());
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
                format!(
                    "`{} = {on}` in {} contradicts `roles = [{}]` in {}",
                    switch.name,
                    judge.place(switch.name, None, from),
                    named.join(", "),
                    judge.place_of("roles").unwrap_or_default()
                ),
                format!("remove `{}` and let `roles` decide", switch.name),
            ));
        }
    }
}

/// Merges the layers into the typed tree of the node and the texts of every key. The first pass has judged every value, so
/// an error here is a disagreement between the table of keys and the tree: a bug, reported as a problem.
fn merge(judge: &mut Judge, roles: &Roles) -> Result<(Config, Values), Problems> {
    let layers = std::mem::take(&mut judge.layers);
    let figment = layers.into_iter().fold(Figment::new(), |figment, layer| figment.merge(Serialized::defaults(layer)));
    let mut tree: Dict = figment.extract().map_err(|error| bug(judge, &error))?;
    let texts = |key: &Key| Some((key.path, kind::texts(value_of(&tree, key)?)));
    let values = Values::new(judge.schema.keys().iter().filter_map(texts));
    roles.iter().flat_map(|role| role.keys()).for_each(|key| remove(&mut tree, &key));
    tree.remove("roles");
    let own = Figment::from(Serialized::defaults(tree));
    let mut config: Config = own.extract().map_err(|error| bug(judge, &error))?;
    let named = values.get("roles").unwrap_or_default();
    config.roles =
        named.iter().filter_map(|name| roles.names().into_iter().find(|role| role.as_str() == name)).collect();
    config.mixing = roles.mixing(&config.roles);
    // Roles that do not fit together are reported with everything else.
    let running = roles.in_order(&config.roles).unwrap_or_default();
    config.runs_mix_role = running.iter().any(|role| role.mixing().any());
    Ok((config, values))
}

fn bug(judge: &mut Judge, error: &figment::Error) -> Problems {
    let mut problems = std::mem::take(&mut judge.problems);
    problems.push(Problem::new(
        format!("the configuration does not fit together: {error}"),
        "this is a bug of wakumix; please report it",
    ));
    Problems(problems)
}

/// The value of a key in a tree of all keys.
pub(super) fn value_of<'a>(tree: &'a Dict, key: &Key) -> Option<&'a Value> {
    let (table, name) = key.split();
    let table = table.map_or(Some(tree), |table| tree.get(table)?.as_dict())?;
    table.get(name)
}

/// Takes a key out of a tree, and its table with the last one.
fn remove(tree: &mut Dict, key: &Key) {
    let (table, name) = key.split();
    let Some(table) = table else {
        tree.remove(name);
        return;
    };
    if let Some(Value::Dict(_, inner)) = tree.get_mut(table) {
        inner.remove(name);
        if inner.is_empty() {
            tree.remove(table);
        }
    }
}
