# The steps of `.ci/run`, one recipe each, in its order; `.ci/run` has what they do. `just --list` prints them.

# Every step, as before a merge
all:
    .ci/run

# Programs that the steps need
toolchain:
    .ci/run toolchain

# Format
format:
    .ci/run format

# Lints
lints:
    .ci/run lints

# Documentation: rustdoc, citations, links, the steps' names
docs:
    .ci/run docs

# Licences and sources of dependencies
dependencies:
    .ci/run dependencies

# Protocol crates for wasm32
wasm:
    .ci/run wasm

# All tests
tests:
    .ci/run tests

# Attacks fail, and work where a countermeasure is off
attacks:
    .ci/run attacks

# Each role alone
roles:
    .ci/run roles

# Vectors of the reference, and our own
vectors:
    .ci/run vectors

# The commands of README and first steps
pages:
    .ci/run pages

# Test net, each wire profile, 4 kB
profiles:
    .ci/run profiles

# Test net, a burst, losses, dead nodes, new keys
failures:
    .ci/run failures

# A flood of ten times what a mixer can bear
flood:
    .ci/run flood

# Test net, 50 nodes from one bootstrap record
fifty:
    .ci/run fifty

# Other implementations read our records
records:
    .ci/run records

# A web page in a browser cannot use a node
web-page:
    .ci/run web-page

# A web page sends through the mixnet
browser:
    .ci/run browser

# A node does what its OpenAPI description says
openapi:
    .ci/run openapi

# A real Prometheus reads a node
prometheus:
    .ci/run prometheus

# Alerts and dashboards, by unit tests and by a network that Prometheus watches
alerts:
    .ci/run alerts

# Chart, overlays and units of deploy/
deploy:
    .ci/run deploy

# Behind address translation
nat:
    .ci/run nat

# Fuzz targets
fuzz:
    .ci/run fuzz

# Benchmarks run
benchmarks:
    .ci/run benchmarks
