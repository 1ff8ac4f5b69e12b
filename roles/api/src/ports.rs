//! How the parts of a node reach each other: handles, found by their type.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::Arc,
};

use wakumix_telemetry::Telemetry;

use crate::{Address, Formats, Inbox, RoleError, RoleName, Workers, host::HostHandle, mailbox};

/// The handles of the roles of a node, and what the node itself offers them, by type: `ports.get::<MixerHandle>()` is `None`
/// where no mixer runs. Cheap to clone.
#[derive(Clone)]
pub struct Ports {
    /// The host, which every node has.
    pub host: HostHandle,
    handles: Arc<HashMap<TypeId, Handle>>,
}

#[derive(Clone)]
struct Handle {
    owner: RoleName,
    name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Ports {
    /// Those of a node without roles.
    #[must_use]
    pub fn new(host: HostHandle) -> Self {
        Self { host, handles: Arc::default() }
    }

    /// The handle of this type, if a role of this node has one.
    #[must_use]
    pub fn get<H: Clone + Send + Sync + 'static>(&self) -> Option<H> {
        self.handles.get(&TypeId::of::<H>())?.value.downcast_ref().cloned()
    }

    /// The handle of this type, without which `role` cannot start.
    ///
    /// # Errors
    /// When no role of this node has one.
    pub fn require<H: Clone + Send + Sync + 'static>(&self, role: RoleName) -> Result<H, RoleError> {
        self.get().ok_or_else(|| RoleError { role, problem: format!("it needs a {}", short_name::<H>()) })
    }

    /// Makes a handle known to all roles.
    ///
    /// # Errors
    /// When a role has one of that type.
    pub fn insert<H: Clone + Send + Sync + 'static>(&mut self, owner: RoleName, handle: H) -> Result<(), RoleError> {
        let name = short_name::<H>();
        if let Some(other) = self.handles.get(&TypeId::of::<H>()) {
            let problem = format!("it opens a {name}, as the {} role does; turn one of the two off", other.owner);
            return Err(RoleError { role: owner, problem });
        }
        let handle = Handle { owner, name, value: Arc::new(handle) };
        Arc::make_mut(&mut self.handles).insert(TypeId::of::<H>(), handle);
        Ok(())
    }
}

/// The name of a type without its modules.
fn short_name<H>() -> &'static str {
    let path = type_name::<H>();
    // The last module of the type itself, not of one of its parameters.
    let end = path.find('<').unwrap_or(path.len());
    path.get(..end).and_then(|outer| outer.rfind("::")).and_then(|at| path.get(at + 2..)).unwrap_or(path)
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.handles.values().map(|handle| (handle.name, handle.owner)).collect();
        names.sort_unstable();
        f.debug_map().entries(names).finish()
    }
}

/// What a role opens its ports with, before any role of the node has started.
pub struct Opening<'a> {
    /// The role.
    pub role: RoleName,
    /// The packet formats that the node serves.
    pub formats: &'a Formats,
    /// Where cryptography runs.
    pub workers: &'a Workers,
    /// Metrics of this node.
    pub telemetry: &'a Telemetry,
    /// Where the handle goes.
    pub ports: &'a mut Ports,
    /// Queues whose capacity a test chooses, by name.
    pub capacities: &'a [(&'static str, usize)],
}

impl Opening<'_> {
    /// A queue of the role for at most `capacity` entries; its metrics have the label `name`.
    #[must_use]
    pub fn queue<T: Send + 'static>(&self, name: &'static str, capacity: usize) -> (Address<T>, Inbox<T>) {
        let chosen = self.capacities.iter().find(|(queue, _)| *queue == name).map(|(_, capacity)| *capacity);
        mailbox(name, chosen.unwrap_or(capacity), self.telemetry)
    }

    /// Publishes a handle of the role to all roles.
    ///
    /// # Errors
    /// When another role has opened one of that type.
    pub fn port<H: Clone + Send + Sync + 'static>(&mut self, handle: H) -> Result<(), RoleError> {
        self.ports.insert(self.role, handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: RoleName = RoleName::new("first");
    const SECOND: RoleName = RoleName::new("second");

    #[derive(Clone, Debug, PartialEq)]
    struct Port(u8);

    #[test]
    fn a_handle_is_found_by_its_type_and_no_type_has_two() {
        let (host, _inbox) = mailbox("host", 1, &Telemetry::new([&crate::METRICS]).unwrap());
        let mut ports = Ports::new(HostHandle::new(host));
        assert_eq!(ports.get::<Port>(), None);
        assert_eq!(
            ports.require::<Port>(FIRST).unwrap_err().to_string(),
            "the first role cannot start: it needs a Port"
        );
        let before = ports.clone();
        ports.insert(FIRST, Port(1)).unwrap();
        assert_eq!((ports.get(), before.get()), (Some(Port(1)), None::<Port>));
        let refused = ports.insert(SECOND, Port(2)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the second role cannot start: it opens a Port, as the first role does; turn one of the two off"
        );
        ports.insert(SECOND, Some(Port(2))).unwrap();
        assert_eq!(
            format!("{ports:?}"),
            r#"{"Option<wakumix_role_api::ports::tests::Port>": RoleName("second"), "Port": RoleName("first")}"#
        );
    }
}
