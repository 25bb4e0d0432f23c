//! The two doors at which streams are opened, and tests that run at both.

use super::{Instance, free_port, let_others_read};

/// Where a test opens streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Rocket's port.
    Rocket,
    /// The port of the fan-out door.
    Fanout,
}

impl Door {
    /// An instance whose streams are opened at this door; see [`Instance::new`].
    pub fn instance(self, rollcast: &str) -> Instance {
        let door_port = (self == Door::Fanout).then(free_port);
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance { folder, port: free_port(), door_port };
        let_others_read(instance.path());
        instance.configure(rollcast);
        instance
    }
}

/// Makes two tests of each function that takes a [`Door`]: one at each door.
#[allow(unused_macros, reason = "each suite uses its own part")]
macro_rules! at_each_door {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn at_rocket() {
                super::$name(crate::common::Door::Rocket);
            }

            #[test]
            fn at_the_fanout_door() {
                super::$name(crate::common::Door::Fanout);
            }
        }
    )+};
}
#[allow(unused_imports, reason = "each suite uses its own part")]
pub(crate) use at_each_door;
