//! Finds mix nodes and services: one Directory snapshot
