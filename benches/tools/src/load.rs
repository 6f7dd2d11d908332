//! A load generator for one kind of request: it runs on one thread, checks the status of each answer, and measures
//! latencies and the CPU time of the servers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};

use crate::wire::Connection;
use crate::{Outcome, cpu, text};

/// The load that `benches/compare` asks for.
#[derive(Deserialize)]
struct Scenario {
    /// The servers. Connections are distributed among them in turn.
    addresses: Vec<String>,
    connections: usize,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    /// The texts that replace `{value}` in the path, the headers and the body.
    values: Vec<String>,
    mode: Mode,
    /// The member of the answer with the next value, in the mode `rotate`.
    field: String,
    expect: Vec<u16>,
    /// The statuses that count as refusals. Any other status ends the load with an error.
    refused: Vec<u16>,
    /// The seconds that a connection waits after a refusal.
    pause: f64,
    warm_up: f64,
    window: f64,
    /// If true, requests that are in flight at the end of the window are counted, and so is their time.
    drain: bool,
    /// The requests a second, or `null` for as many as possible. With a rate, the latency of a request counts from the
    /// time when it was due.
    rate: Option<f64>,
    /// Names, and the processes whose CPU time, with that of their descendants, counts for the name.
    cpu: BTreeMap<String, Vec<u32>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Each connection keeps its value.
    Stay,
    /// Each value is used once. The load ends when all are used.
    Once,
    /// Each connection replaces its value by one from the answer.
    Rotate,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Warming,
    Counting,
    Over,
}

/// The state that all connections share. They run on one thread.
struct Shared {
    scenario: Scenario,
    phase: Cell<Phase>,
    next: Cell<usize>,
    refused: Cell<u64>,
    latencies: RefCell<Vec<Duration>>,
}

impl Shared {
    fn is_counted(&self, phase_at_begin: Phase) -> bool {
        let begun_in_time = self.scenario.drain && phase_at_begin == Phase::Counting;
        self.phase.get() == Phase::Counting || begun_in_time
    }

    fn value(&self, place: usize) -> String {
        let values = &self.scenario.values;
        if values.is_empty() { String::new() } else { values[place % values.len()].clone() }
    }

    /// Returns the next value that was not used, if there is one.
    fn next_value(&self) -> Option<String> {
        let place = self.next.replace(self.next.get() + 1);
        self.scenario.values.get(place).cloned()
    }

    fn request(&self, address: &str, value: &str) -> Vec<u8> {
        let filled = |text: &str| text.replace("{value}", value);
        let Scenario { method, path, headers, body, .. } = &self.scenario;
        let body = filled(body);
        let mut request = format!("{method} {} HTTP/1.1\r\nHost: {address}\r\n", filled(path));
        for (name, value) in headers {
            request += &format!("{name}: {}\r\n", filled(value));
        }
        if method != "GET" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        (request + "\r\n" + &body).into_bytes()
    }
}

pub(crate) fn main() -> Outcome<()> {
    let mut scenario = String::new();
    std::io::stdin().read_to_string(&mut scenario).map_err(text)?;
    let scenario: Scenario = serde_json::from_str(&scenario).map_err(text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let figures = LocalSet::new().block_on(&runtime.map_err(text)?, run(scenario))?;
    println!("{figures}");
    Ok(())
}

async fn run(scenario: Scenario) -> Outcome<Value> {
    let latencies = RefCell::new(Vec::with_capacity(1 << 20));
    let phase = Cell::new(Phase::Warming);
    let shared = Shared { scenario, phase, next: Cell::new(0), refused: Cell::new(0), latencies };
    let shared = Rc::new(shared);
    let Scenario { connections, warm_up, window, rate, .. } = shared.scenario;
    let mut lanes = JoinSet::new();
    let mut queues = Vec::new();
    for (number, connection) in connect(&shared, connections).await?.into_iter().enumerate() {
        let (queue, dues) = unbounded_channel();
        queues.push(queue);
        lanes.spawn_local(lane(Rc::clone(&shared), number, connection, rate.map(|_| dues)));
    }
    if let Some(rate) = rate {
        keep_time(queues, rate, Duration::from_secs_f64(warm_up + window));
    }
    let mut values = vec![Value::Null; connections];
    if lanes_end_within(&mut lanes, &mut values, warm_up).await? && warm_up > 0.0 {
        return Err("the load was over before it was counted".to_owned());
    }
    let (began, before) = (Instant::now(), cpu_of(&shared.scenario));
    shared.phase.set(Phase::Counting);
    let ended = lanes_end_within(&mut lanes, &mut values, window).await?;
    let (mut elapsed, mut after) = (began.elapsed(), cpu_of(&shared.scenario));
    shared.phase.set(Phase::Over);
    if !ended {
        // A connection that has no request within this time waits for an answer that does not come.
        if !lanes_end_within(&mut lanes, &mut values, 60.0).await? {
            return Err("an answer did not come within 60 s after the end".to_owned());
        }
        if shared.scenario.drain {
            (elapsed, after) = (began.elapsed(), cpu_of(&shared.scenario));
        }
    }
    let used: BTreeMap<_, _> =
        after.into_iter().map(|(name, seconds)| (name.clone(), seconds - before[&name])).collect();
    Ok(figures(&shared, elapsed, &json!(used), &json!(values)))
}

async fn connect(shared: &Rc<Shared>, connections: usize) -> Outcome<Vec<Connection>> {
    let mut opened = Vec::new();
    for number in 0..connections {
        let addresses = &shared.scenario.addresses;
        let mut connection = Connection::to(&addresses[number % addresses.len()]);
        connection.connect().await?;
        opened.push(connection);
    }
    Ok(opened)
}

/// Waits until all lanes have ended, or until the time is over. Returns true if all have ended, and notes their values.
async fn lanes_end_within(
    lanes: &mut JoinSet<Outcome<(usize, String)>>,
    values: &mut [Value],
    seconds: f64,
) -> Outcome<bool> {
    let all = async {
        while let Some(lane) = lanes.join_next().await {
            let (number, value) = lane.map_err(text)??;
            values[number] = value.into();
        }
        Ok(true)
    };
    let ended = tokio::time::timeout(Duration::from_secs_f64(seconds), all).await;
    ended.unwrap_or(Ok(false))
}

/// Sends requests on one connection until the end. Returns the last value.
async fn lane(
    shared: Rc<Shared>,
    number: usize,
    mut connection: Connection,
    mut dues: Option<UnboundedReceiver<Instant>>,
) -> Outcome<(usize, String)> {
    let scenario = &shared.scenario;
    let address = scenario.addresses[number % scenario.addresses.len()].clone();
    let mut value = shared.value(number);
    let mut request = shared.request(&address, &value);
    while shared.phase.get() < Phase::Over {
        if scenario.mode == Mode::Once {
            let Some(next) = shared.next_value() else { break };
            request = shared.request(&address, &next);
        }
        let began = match &mut dues {
            None => Instant::now(),
            Some(dues) => match dues.recv().await {
                Some(due) => due,
                None => break,
            },
        };
        let phase = shared.phase.get();
        let answer = connection.call(&request).await?;
        let is_counted = shared.is_counted(phase);
        if scenario.refused.contains(&answer.status) {
            if is_counted {
                shared.refused.set(shared.refused.get() + 1);
            }
            if scenario.pause > 0.0 && shared.phase.get() < Phase::Over {
                tokio::time::sleep(Duration::from_secs_f64(scenario.pause)).await;
            }
            continue;
        }
        if !scenario.expect.contains(&answer.status) {
            let body = String::from_utf8_lossy(&answer.body);
            let body: String = body.chars().take(300).collect();
            return Err(format!("{} answered {}: {body}", scenario.path, answer.status));
        }
        if is_counted {
            shared.latencies.borrow_mut().push(began.elapsed());
        }
        if scenario.mode == Mode::Rotate {
            value = member(&answer.body, &scenario.field)?;
            request = shared.request(&address, &value);
        }
    }
    Ok((number, value))
}

fn member(body: &[u8], field: &str) -> Outcome<String> {
    let body: Value = serde_json::from_slice(body).map_err(text)?;
    let value = body[field].as_str();
    value.map(str::to_owned).ok_or_else(|| format!("an answer has no {field:?}: {body}"))
}

/// Gives each lane in turn the times at which its requests are due, from a thread that can sleep precisely.
fn keep_time(queues: Vec<UnboundedSender<Instant>>, rate: f64, seconds: Duration) {
    std::thread::spawn(move || {
        let mut due = Instant::now();
        let end = due + seconds;
        for queue in queues.iter().cycle() {
            due += Duration::from_secs_f64(1.0 / rate);
            if due > end {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // If a lane has ended, its error ends the load.
            let _ = queue.send(due);
        }
    });
}

fn cpu_of(scenario: &Scenario) -> BTreeMap<String, f64> {
    let of = |(name, roots): (&String, &Vec<u32>)| (name.clone(), cpu::of_trees(roots));
    scenario.cpu.iter().map(of).collect()
}

fn figures(shared: &Shared, elapsed: Duration, cpu: &Value, values: &Value) -> Value {
    let mut latencies = shared.latencies.borrow_mut();
    latencies.sort_unstable();
    let at = |part: f64| {
        let place = (part * latencies.len().saturating_sub(1) as f64).round() as usize;
        latencies.get(place).map(|latency| latency.as_secs_f64() * 1e3)
    };
    json!({
        "answered": latencies.len(),
        "refused": shared.refused.get(),
        "seconds": elapsed.as_secs_f64(),
        "p50": at(0.5),
        "p99": at(0.99),
        "max": at(1.0),
        "cpu": cpu,
        "values": values,
    })
}
