//! The plain loop that the worker is compared with: consume, parse, sign, claim, POST, confirm, store the offset, and
//! nothing else. Pipelined Redis, keep-alive HTTP on two runtime threads, an unordered tracker; no rate, no lanes, no
//! retry but the simplest, no dead letters, no metrics, and no second thought about a claim that a crash leaves behind.
//!
//! `plain --brokers B --topic T --group G --redis URL --url URL --hung-url URL --in-flight N`; the second
//! URL is for the account `hung`

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool of the benchmark: whatever fails ends the run"
)]

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message};
use redis::aio::MultiplexedConnection;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

/// Keys in one Redis pipeline at most.
const PIPELINE: usize = 256;
/// The window, in seconds: 12 d.
const WINDOW: u64 = 12 * 24 * 3600;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Deserialize)]
struct Event<'a> {
    trans_id: &'a str,
    account: &'a str,
    event_time_ms: u64,
    #[serde(borrow)]
    click: Click<'a>,
    order: Order,
    #[serde(borrow)]
    user: User<'a>,
    #[serde(borrow)]
    platform_params: Params<'a>,
}

#[derive(Deserialize)]
struct Click<'a> {
    qhclickid: &'a str,
}

#[derive(Deserialize)]
struct Order {
    amount: Amount,
}

#[derive(Deserialize)]
struct Amount {
    minor: i64,
}

#[derive(Deserialize)]
struct User<'a> {
    user_id: &'a str,
}

#[derive(Deserialize)]
struct Params<'a> {
    data_industry: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    request_time: u64,
    data_industry: &'a str,
    data_detail: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    qhclickid: &'a str,
    trans_id: &'a str,
    event: &'a str,
    event_time: u64,
    event_param: EventParam<'a>,
}

#[derive(Serialize)]
struct EventParam<'a> {
    value: i64,
    outeruserid: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    errno: i64,
}

/// One signed request and where it came from.
struct Job {
    partition: i32,
    offset: i64,
    claim: String,
    app_key: String,
    sign: String,
    body: String,
}

impl Job {
    fn new(partition: i32, offset: i64, value: &[u8]) -> Self {
        let event: Event<'_> = serde_json::from_slice(value).expect("an event");
        let body = serde_json::to_string(&Body {
            data: Data {
                request_time: SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
                data_industry: event.platform_params.data_industry,
                data_detail: Detail {
                    qhclickid: event.click.qhclickid,
                    trans_id: event.trans_id,
                    event: "ORDER",
                    event_time: event.event_time_ms / 1000,
                    event_param: EventParam { value: event.order.amount.minor, outeruserid: event.user.user_id },
                },
            },
        })
        .unwrap();
        let mut sign = String::with_capacity(32);
        for byte in Md5::new().chain_update(SECRET).chain_update(&body).finalize() {
            write!(sign, "{byte:02x}").unwrap();
        }
        let claim = format!("plain:{}:{}", event.account, event.trans_id);
        Self { partition, offset, claim, app_key: event.account.to_owned(), sign, body }
    }
}

/// Offsets in order of receipt, finished or not; what is finished at the front may be stored.
#[derive(Default)]
struct Tracker {
    partitions: HashMap<i32, VecDeque<(i64, bool)>>,
}

impl Tracker {
    fn received(&mut self, partition: i32, offset: i64) {
        self.partitions.entry(partition).or_default().push_back((offset, false));
    }

    /// The last offset of a finished front that has just grown.
    fn finished(&mut self, partition: i32, offset: i64) -> Option<i64> {
        let open = self.partitions.get_mut(&partition)?;
        let at = open.binary_search_by_key(&offset, |(o, _)| *o).ok()?;
        open[at].1 = true;
        let mut last = None;
        while open.front().is_some_and(|(_, done)| *done) {
            last = open.pop_front().map(|(o, _)| o);
        }
        last
    }
}

fn option(name: &str) -> String {
    std::env::args().skip_while(|a| a != name).nth(1).unwrap_or_else(|| panic!("{name} is missing"))
}

fn consumer(topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", option("--brokers"))
        .set("group.id", option("--group"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "1000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .expect("consumer");
    consumer.subscribe(&[topic]).expect("subscribe");
    consumer
}

async fn claim(
    mut jobs: mpsc::Receiver<Job>,
    redis: MultiplexedConnection,
    post: Arc<Post>,
    tracker: Arc<Mutex<Tracker>>,
) {
    let (mut redis, mut batch) = (redis, Vec::with_capacity(PIPELINE));
    while jobs.recv_many(&mut batch, PIPELINE).await > 0 {
        let mut pipe = redis::Pipeline::with_capacity(batch.len());
        {
            let mut tracker = tracker.lock().unwrap();
            for job in &batch {
                tracker.received(job.partition, job.offset);
                pipe.cmd("SET").arg(&job.claim).arg("c").arg("NX").arg("EX").arg(WINDOW);
            }
        }
        let fresh: Vec<Option<String>> = pipe.query_async(&mut redis).await.expect("claims");
        for (job, fresh) in batch.drain(..).zip(fresh) {
            if fresh.is_none() {
                post.done.send(job).await.expect("confirm");
                continue;
            }
            let permit = post.permits.clone().acquire_owned().await.expect("permit");
            let post = post.clone();
            tokio::spawn(async move {
                post.send(&job).await;
                drop(permit);
                post.done.send(job).await.expect("confirm");
            });
        }
    }
}

struct Post {
    client: Client,
    url: Url,
    hung_url: Url,
    permits: Arc<Semaphore>,
    done: mpsc::Sender<Job>,
}

impl Post {
    /// Until the platform takes it, keeping its permit.
    async fn send(&self, job: &Job) {
        let mut pause = Duration::from_millis(200);
        while !self.is_taken(job).await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn is_taken(&self, job: &Job) -> bool {
        let request = self
            .client
            .post(if job.app_key == "hung" { self.hung_url.clone() } else { self.url.clone() })
            .header("App-Key", &job.app_key)
            .header("App-Sign", &job.sign)
            .header("Content-Type", "application/json;charset=utf-8")
            .body(job.body.clone());
        let Ok(response) = request.send().await else { return false };
        let is_success = response.status().is_success();
        let Ok(body) = response.bytes().await else { return false };
        is_success && serde_json::from_slice::<Answer>(&body).is_ok_and(|a| a.errno == 0)
    }
}

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (topic, in_flight) = (option("--topic"), option("--in-flight").parse::<usize>().expect("--in-flight"));
    let consumer = Arc::new(consumer(&topic));
    let tracker = Arc::new(Mutex::new(Tracker::default()));
    let (polled, jobs) = mpsc::channel(4096);
    let (done, mut finished) = mpsc::channel::<Job>(4096);
    let polling = consumer.clone();
    std::thread::spawn(move || {
        loop {
            let Some(Ok(record)) = polling.poll(Duration::from_millis(100)) else { continue };
            let job = Job::new(record.partition(), record.offset(), record.payload().unwrap_or_default());
            polled.blocking_send(job).expect("claim");
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let redis = redis::Client::open(option("--redis")).expect("--redis");
        let claims = redis.get_multiplexed_async_connection().await.expect("redis");
        let mut confirms = redis.get_multiplexed_async_connection().await.expect("redis");
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(3))
            .pool_max_idle_per_host(in_flight)
            .build()
            .expect("client");
        let url = option("--url").parse().expect("--url");
        let hung_url = option("--hung-url").parse().expect("--hung-url");
        let post = Arc::new(Post { client, url, hung_url, permits: Arc::new(Semaphore::new(in_flight)), done });
        tokio::spawn(claim(jobs, claims, post, tracker.clone()));

        let mut batch = Vec::with_capacity(PIPELINE);
        while finished.recv_many(&mut batch, PIPELINE).await > 0 {
            let mut pipe = redis::Pipeline::with_capacity(batch.len());
            for job in &batch {
                pipe.cmd("SET").arg(&job.claim).arg("d").arg("EX").arg(WINDOW).ignore();
            }
            pipe.query_async::<()>(&mut confirms).await.expect("confirms");
            let mut tracker = tracker.lock().unwrap();
            for job in batch.drain(..) {
                if let Some(last) = tracker.finished(job.partition, job.offset) {
                    consumer.store_offset(&topic, job.partition, last).expect("store");
                }
            }
        }
    });
}
