//! Arguments, configuration, one command, exit code.

fn main() {}
