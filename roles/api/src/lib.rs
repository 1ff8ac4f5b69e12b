//! What a role is: the Role trait, the messages that actors exchange, bounded addresses, supervision
