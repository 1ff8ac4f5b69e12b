//! The one list of roles, and what follows from it: their order, and whether they fit together.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use wakumix_role_api::{ConfigError, Mixing, Role, RoleFactory, RoleName, config::Settings};
use wakumix_telemetry::Catalogue;

use crate::{metrics::METRICS, rest};

/// The roles of this build. A role that is added is one line here.
const BUILT_IN: &[&dyn RoleFactory] = &[
    #[cfg(feature = "mixer")]
    &wakumix_mixer::MixerFactory,
    #[cfg(feature = "exit")]
    &wakumix_exit::ExitFactory,
    #[cfg(feature = "sender")]
    &wakumix_sender::SenderFactory,
    #[cfg(feature = "relay")]
    &wakumix_relay::RelayFactory,
];

/// Roles of this project, each a Cargo feature of its name: for the advice to build with one.
pub(crate) const FEATURES: [RoleName; 4] = [
    wakumix_role_api::relay::NAME,
    wakumix_role_api::mixer::NAME,
    wakumix_role_api::exit::NAME,
    wakumix_role_api::sender::NAME,
];

/// The roles that a node of this build can have. Cheap to clone.
#[derive(Clone)]
pub struct Roles {
    listed: Arc<[&'static dyn RoleFactory]>,
}

/// Roles that do not fit together: a defect of the build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct RolesError {
    /// Which, and why.
    pub problem: String,
}

impl Roles {
    /// Those of this build.
    #[must_use]
    pub fn built_in() -> Self {
        Self { listed: BUILT_IN.into() }
    }

    /// These and one more.
    #[must_use]
    pub fn with(&self, role: &'static dyn RoleFactory) -> Self {
        Self { listed: self.listed.iter().copied().chain([role]).collect() }
    }

    /// The catalogues of metrics of the crates that a node of these roles is made of, bottom up.
    #[must_use]
    pub fn catalogues(&self) -> Vec<&'static Catalogue> {
        let own = [&wakumix_tls::METRICS, &wakumix_discovery::METRICS, &wakumix_host::METRICS, &METRICS];
        [&wakumix_role_api::METRICS]
            .into_iter()
            .chain(self.iter().filter_map(RoleFactory::metrics))
            .chain(own)
            .collect()
    }

    /// Every role, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = &'static dyn RoleFactory> {
        self.listed.iter().copied()
    }

    /// The role of a name.
    pub(crate) fn find(&self, name: RoleName) -> Option<&'static dyn RoleFactory> {
        self.iter().find(|role| role.name() == name)
    }

    /// The names that a configuration may write: those of this build, and those of the project that are not in it, which
    /// are refused with better advice than unknown ones.
    pub fn names(&self) -> Vec<RoleName> {
        let own = self.iter().map(RoleFactory::name).filter(|name| !FEATURES.contains(name));
        FEATURES.into_iter().chain(own).collect()
    }

    /// Refuses roles of one name, and routes that two have, the node among them. Keys are compared where they are collected,
    /// since the node has some of its own.
    ///
    /// # Errors
    /// The first pair that does not fit together.
    pub(crate) fn check(&self) -> Result<(), RolesError> {
        let mut names = BTreeMap::new();
        let mut routes = BTreeMap::new();
        for role in self.iter() {
            if names.insert(role.name(), ()).is_some() {
                return Err(RolesError { problem: format!("two roles have the name {}", role.name()) });
            }
            for route in role.routes() {
                if let Some(problem) = rest::refused_route(&route) {
                    return Err(RolesError {
                        problem: format!("the route {} of {}: {problem}", route.path, role.name()),
                    });
                }
                // What a part of the path is called does not matter to a server.
                if let Some(other) = routes.insert((rest::pattern(route.path), route.method), role.name()) {
                    let problem = format!("the roles {other} and {} both have the route {}", role.name(), route.path);
                    return Err(RolesError { problem });
                }
            }
        }
        self.in_order(&names.into_keys().collect::<Vec<_>>()).map(drop)
    }

    /// What a node does with packets that has these roles.
    pub(crate) fn mixing(&self, named: &[RoleName]) -> Mixing {
        let own = named.iter().filter_map(|name| self.find(*name)).map(RoleFactory::mixing);
        own.fold(Mixing::NONE, Mixing::and)
    }

    /// Whether a node that has this role handles packets.
    pub(crate) fn mixes(&self, name: RoleName) -> bool {
        self.in_order(&[name]).is_ok_and(|running| running.iter().any(|role| role.mixing().any()))
    }

    /// The roles that a node must run to have these, in the order in which they start: what a role needs or uses comes
    /// before it, else as they are listed.
    ///
    /// # Errors
    /// A role that is needed and not in this build, or roles that need each other.
    pub(crate) fn in_order(&self, named: &[RoleName]) -> Result<Vec<&'static dyn RoleFactory>, RolesError> {
        let mut wanted: Vec<RoleName> = named.to_vec();
        let mut at = 0;
        while let Some(role) = wanted.get(at).copied() {
            at += 1;
            for need in self.find(role).map_or(&[][..], |role| role.needs()) {
                if self.find(*need).is_none() {
                    let how = if FEATURES.contains(need) {
                        format!("build with the feature {need}")
                    } else {
                        format!("add {need} to the roles of the program")
                    };
                    let problem = format!("the {role} role needs the {need} role, which is not in this build: {how}");
                    return Err(RolesError { problem });
                }
                if !wanted.contains(need) {
                    wanted.push(*need);
                }
            }
        }
        let mut waiting: Vec<_> = self.iter().filter(|role| wanted.contains(&role.name())).collect();
        let mut ordered: Vec<&'static dyn RoleFactory> = Vec::new();
        while !waiting.is_empty() {
            let is_free = |role: &&'static dyn RoleFactory| {
                let before = role.needs().iter().chain(role.uses());
                !waiting.iter().any(|other| before.clone().any(|name| *name == other.name()))
            };
            let Some(next) = waiting.iter().position(is_free) else {
                let names: Vec<_> = waiting.iter().map(|role| role.name().as_str()).collect();
                return Err(RolesError { problem: format!("the roles {} wait for each other", names.join(", ")) });
            };
            ordered.push(waiting.remove(next));
        }
        Ok(ordered)
    }

    /// The roles that a node must run to have these, configured, in the order in which they start.
    ///
    /// # Errors
    /// Everything that is wrong with the settings of the first role that is not content.
    pub(crate) fn configured(
        &self,
        named: &[RoleName],
        settings: &Settings<'_>,
    ) -> Result<Vec<Box<dyn Role>>, NotConfigured> {
        let ordered = self.in_order(named)?;
        let configure = |role: &&dyn RoleFactory| {
            role.configure(settings).map_err(|error| NotConfigured::Settings { role: role.name(), error })
        };
        ordered.iter().map(configure).collect()
    }
}

/// Why roles cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConfigured {
    /// They do not fit together.
    #[error(transparent)]
    Roles(#[from] RolesError),
    /// One refuses its settings.
    #[error("the {role} role cannot start: {error}")]
    Settings {
        /// Which.
        role: RoleName,
        /// What is wrong.
        error: ConfigError,
    },
}

impl Default for Roles {
    fn default() -> Self {
        Self::built_in()
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|role| role.name().as_str())).finish()
    }
}
