//! Opens the endpoints for operators.

use std::sync::Arc;

use crate::admin::{self, Server, all_routes, health_routes};
use crate::exit::Exit;
use crate::inspect::dead_letters::scan::Scan;
use crate::operate::reload::Reloads;
use crate::operate::status::WorkerStatus;
use crate::replay::Replays;
use crate::settings::LiveConfig;

/// Serves the console and the API at `admin.listen`, which comes first, and health and metrics alone at
/// `telemetry.listen`.
///
/// # Errors
/// Exits with 1 if an address cannot be bound.
pub(super) fn listen(
    live: &LiveConfig,
    reloads: Reloads,
    status: &Arc<WorkerStatus>,
    scan: &Arc<Scan>,
    replays: Replays,
) -> Result<Vec<Server>, Exit> {
    let start = |key: &str, address, router| {
        Server::start(address, router).map_err(|e| Exit::failed(format!("{key} = \"{address}\": {e}")))
    };
    let worker = admin::Worker {
        id: status.id.clone(),
        status: status.clone(),
        config: live.clone(),
        client: status.client.clone(),
        scan: scan.clone(),
        replays,
        reloads,
    };
    let config = live.load();
    let routes = all_routes(admin::Parts::new(worker), &config.admin.token);
    let mut servers = vec![start("admin.listen", config.admin.listen, routes)?];
    if let Some(address) = config.telemetry.listen {
        servers.push(start("telemetry.listen", address, health_routes(status.clone()))?);
    }
    Ok(servers)
}
