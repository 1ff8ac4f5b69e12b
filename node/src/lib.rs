//! The wakumix node: configuration, role start-up, REST, command line, test net
