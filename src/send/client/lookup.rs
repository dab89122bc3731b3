//! Looks up host names, each on its own thread.
//!
//! The system's resolver blocks its thread for as long as its servers are silent. On the runtime's pool, such names
//! would take the threads of all other accounts. Here a name that hangs blocks one thread, however many attempts wait
//! for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Shared by all lanes, because the accounts of one platform ask for the same name.
static LOOKUPS: LazyLock<Lookups> = LazyLock::new(|| Lookups::new(by_system));

/// No attempt joins a lookup that has taken this long, because it may never end.
const TOO_LONG: Duration = Duration::from_secs(60);
/// The stack of a lookup's thread, in bytes: enough for any resolver, and small enough for a thousand threads that
/// hang.
const STACK: usize = 512 * 1024;

type Found = Result<Arc<[IpAddr]>, io::ErrorKind>;
type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The addresses of a host, according to the system's resolver.
///
/// # Errors
/// The name does not resolve.
pub async fn lookup(host: &str) -> io::Result<Arc<[IpAddr]>> {
    LOOKUPS.find(host).await
}

fn by_system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

struct Lookups {
    resolve: Arc<Resolve>,
    under_way: Arc<Mutex<HashMap<Box<str>, UnderWay>>>,
}

struct UnderWay {
    since: Instant,
    found: watch::Receiver<Option<Found>>,
}

impl Lookups {
    fn new(resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { resolve: Arc::new(resolve), under_way: Arc::default() }
    }

    async fn find(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([address].into());
        }
        let mut found = self.join(host)?;
        // The thread reports before it ends.
        let told = found.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        told.unwrap_or(Err(io::ErrorKind::Other)).map_err(io::Error::from)
    }

    /// Joins the running lookup of this name, or starts one.
    fn join(&self, host: &str) -> io::Result<watch::Receiver<Option<Found>>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = under_way.get(host).filter(|u| u.since.elapsed() < TOO_LONG) {
            return Ok(known.found.clone());
        }
        let (tell, found) = watch::channel(None);
        let (name, resolve, all) = (Box::<str>::from(host), self.resolve.clone(), self.under_way.clone());
        let own = found.clone();
        std::thread::Builder::new().name("lookup".into()).stack_size(STACK).spawn(move || {
            let result = resolve(&name).map(Arc::from).map_err(|error| error.kind());
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            // Another lookup may have taken its place by now.
            if all.get(&name).is_some_and(|u| u.found.same_channel(&own)) {
                all.remove(&name);
            }
            drop(all);
            let _ = tell.send(Some(result));
        })?;
        under_way.insert(host.into(), UnderWay { since: Instant::now(), found: found.clone() });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;

    use futures_util::future::join_all;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn names_that_hang_take_one_thread_each_and_hold_up_no_other() {
        let (let_go, gate) = mpsc::channel::<()>();
        let (gate, asked) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let lookups = Lookups::new(move |host| {
            counted.fetch_add(1, SeqCst);
            if host.starts_with("hangs") {
                let _ = gate.lock().unwrap().recv();
                return Err(io::ErrorKind::TimedOut.into());
            }
            Ok(vec![[192, 0, 2, 1].into()])
        });
        // More names than a runtime's pool has threads, and several attempts ask for each.
        let names: Vec<_> = (0..600).map(|n| format!("hangs-{n}.test")).collect();
        let mut hanging = Box::pin(join_all(names.iter().cycle().take(1800).map(|name| lookups.find(name))));
        assert!(timeout(Duration::from_millis(50), &mut hanging).await.is_err());
        let found = timeout(LONG, lookups.find("answers.test")).await.expect("another name waits for them").unwrap();
        assert_eq!(*found, [IpAddr::from([192, 0, 2, 1])]);

        drop(let_go);
        let failed = timeout(LONG, hanging).await.unwrap();
        assert!(failed.iter().all(|f| f.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)));
        assert_eq!(asked.load(SeqCst), 601, "asked for once each");
        lookups.find("answers.test").await.unwrap();
        assert_eq!(asked.load(SeqCst), 602, "what is not under way is asked for again");
        assert!(lookups.under_way.lock().unwrap().is_empty());
    }

    #[test]
    fn a_name_is_found_though_the_runtimes_pool_is_taken() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        let (let_go, gate) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || gate.recv());
        let found = runtime.block_on(async { timeout(LONG, lookup("localhost")).await });
        drop(let_go);
        let found = found.expect("it waits for a thread of the pool").unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    #[tokio::test]
    async fn an_address_is_looked_up_nowhere() {
        let lookups = Lookups::new(|_| Err(io::ErrorKind::Other.into()));
        for text in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(*lookups.find(text).await.unwrap(), [text.parse::<IpAddr>().unwrap()]);
        }
    }
}
