//! One place in the tree, readable at any time without asking anybody: architecture, section 2, "the admin endpoint
//! shows this tree live". Supervisors and actors write here; the snapshot only reads. A place survives its incarnations.

use crate::mailbox::Gauge;
use crate::supervision::snapshot::{KindWork, LastRestart, NodeKind, Status, TreeNode};
use crate::supervision::supervisor::Control;
use crate::supervision::{SupervisorSpec, spec::ChildKind, spec::ChildSpec};
use ractor::ActorCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Locks without caring whether another holder panicked: everything behind these locks is valid after each statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One place in the tree.
pub(crate) struct Record {
    name: String,
    path: String,
    spec: RecordSpec,
    life: Mutex<LifeRecord>,
    work: Work,
    children: Mutex<Vec<Arc<Record>>>,
}

/// What the place is made for.
pub(crate) enum RecordSpec {
    Worker { gauge: Arc<Gauge> },
    Supervisor { spec: Arc<SupervisorSpec> },
}

#[derive(Default)]
struct LifeRecord {
    status: Status,
    running_since: Option<Instant>,
    restarts: u64,
    last_restart: Option<LastRestart>,
    present: Option<Present>,
}

/// How the present incarnation is reached from outside.
#[derive(Clone)]
pub(crate) struct Present {
    pub(crate) cell: ActorCell,
    pub(crate) handle: PresentHandle,
}

#[derive(Clone)]
pub(crate) enum PresentHandle {
    /// Sends the crash envelope; false when the worker is gone.
    Worker {
        crash: Arc<dyn Fn(String) -> bool + Send + Sync>,
    },
    Supervisor(Control),
}

impl Record {
    /// The root of a tree, with the places of all its static descendants.
    pub(crate) fn root(spec: Arc<SupervisorSpec>) -> Arc<Self> {
        let name = spec.name.clone();
        Arc::new(Self::supervisor(name.clone(), name, "", spec))
    }

    /// A child's place below a supervisor whose children's paths begin with `prefix`.
    pub(crate) fn child(child: &ChildSpec, prefix: &str) -> Arc<Self> {
        let path = if prefix.is_empty() { child.name.clone() } else { format!("{prefix}/{}", child.name) };
        Arc::new(match &child.kind {
            ChildKind::Worker { mailbox_bound, .. } => {
                let gauge = Arc::new(Gauge::new(*mailbox_bound));
                Self::new(child.name.clone(), path, RecordSpec::Worker { gauge }, Vec::new())
            }
            ChildKind::Supervisor(spec) => Self::supervisor(child.name.clone(), path.clone(), &path, Arc::clone(spec)),
        })
    }

    fn supervisor(name: String, path: String, prefix: &str, spec: Arc<SupervisorSpec>) -> Self {
        let children = spec.children.iter().map(|child| Self::child(child, prefix)).collect();
        Self::new(name, path, RecordSpec::Supervisor { spec }, children)
    }

    fn new(name: String, path: String, spec: RecordSpec, children: Vec<Arc<Self>>) -> Self {
        let (life, work) = (Mutex::default(), Work::default());
        Self { name, path, spec, life, work, children: Mutex::new(children) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn spec(&self) -> &RecordSpec {
        &self.spec
    }

    pub(crate) fn work(&self) -> &Work {
        &self.work
    }

    pub(crate) fn children(&self) -> Vec<Arc<Self>> {
        lock(&self.children).clone()
    }

    pub(crate) fn add_child(&self, child: Arc<Self>) {
        lock(&self.children).push(child);
    }

    /// Forgets a dynamic child's place (the static ones, which come first, stay for ever).
    pub(crate) fn remove_child(&self, child: &Arc<Self>) {
        lock(&self.children).retain(|other| !Arc::ptr_eq(other, child));
    }

    /// Forgets what dynamic children a dead incarnation left.
    pub(crate) fn keep_static_children(&self) {
        if let RecordSpec::Supervisor { spec } = &self.spec {
            lock(&self.children).truncate(spec.children.len());
        }
    }

    /// The place at a path below this one.
    pub(crate) fn find(self: &Arc<Self>, path: &str) -> Option<Arc<Self>> {
        let mut place = Arc::clone(self);
        for name in path.split('/') {
            let next = lock(&place.children).iter().find(|child| child.name == name).cloned();
            place = next?;
        }
        Some(place)
    }

    pub(crate) fn present(&self) -> Option<Present> {
        lock(&self.life).present.clone()
    }

    pub(crate) fn set_present(&self, present: Option<Present>) {
        lock(&self.life).present = present;
    }

    pub(crate) fn set_status(&self, status: Status) {
        let mut life = lock(&self.life);
        if life.status != status {
            life.running_since = (status == Status::Running).then(Instant::now);
            life.status = status;
        }
    }

    pub(crate) fn note_restart(&self, reason: &str) {
        let mut life = lock(&self.life);
        life.restarts += 1;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        life.last_restart = Some(LastRestart { reason: reason.to_owned(), at_unix_us: micros(since_epoch) });
    }

    /// The figures of this place and of all below it. Each place is consistent in itself; the tree is as good as a
    /// glance at running machinery can be.
    pub(crate) fn snapshot(&self) -> TreeNode {
        let children = self.children().iter().map(|child| child.snapshot()).collect();
        let life = lock(&self.life);
        let (kind, strategy, gauge) = match &self.spec {
            RecordSpec::Worker { gauge } => (NodeKind::Worker, None, Some(Arc::clone(gauge))),
            RecordSpec::Supervisor { spec } => (NodeKind::Supervisor, Some(spec.strategy), self.commands(&life)),
        };
        let last = life.last_restart.as_ref();
        let gauge = gauge.as_deref();
        TreeNode {
            name: self.path.clone(),
            kind,
            strategy,
            status: life.status,
            uptime_ms: life.running_since.map_or(0, |since| millis(since.elapsed())),
            restarts: life.restarts,
            last_restart_reason: last.map(|last| last.reason.clone()),
            last_restart_at: last.map(|last| last.at_unix_us),
            mailbox_depth: gauge.map_or(0, Gauge::depth),
            mailbox_bound: gauge.map_or(0, Gauge::bound),
            mailbox_high_water: gauge.map_or(0, Gauge::high_water),
            mailbox_refused: gauge.map_or(0, Gauge::refused),
            mailbox_dropped: gauge.map_or(0, Gauge::dropped),
            messages_handled: self.work.handled(),
            handler_total_us: self.work.total_us(),
            handler_max_us: self.work.max_us(),
            handling_us: self.work.handling_us(),
            kinds: self.work.kinds(),
            children,
        }
    }

    fn commands(&self, life: &LifeRecord) -> Option<Arc<Gauge>> {
        match &life.present.as_ref()?.handle {
            PresentHandle::Supervisor(control) => Some(control.gauge()),
            PresentHandle::Worker { .. } => None,
        }
    }
}

/// What an actor has done, over all its incarnations.
pub(crate) struct Work {
    began: Instant,
    handling_since_us: AtomicU64,
    kinds: Mutex<Vec<Arc<KindCount>>>,
}

/// What was done for messages of one kind.
pub(crate) struct KindCount {
    kind: &'static str,
    handled: AtomicU64,
    total_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Work {
    fn default() -> Self {
        Self { began: Instant::now(), handling_since_us: AtomicU64::new(0), kinds: Mutex::default() }
    }
}

impl Work {
    /// The counter of a kind, which the actor's adaptor keeps at hand.
    pub(crate) fn kind(&self, kind: &'static str) -> Arc<KindCount> {
        let mut kinds = lock(&self.kinds);
        if let Some(known) = kinds.iter().find(|count| count.kind == kind) {
            return Arc::clone(known);
        }
        let zero = || AtomicU64::new(0);
        let fresh = Arc::new(KindCount { kind, handled: zero(), total_ns: zero(), max_ns: zero() });
        kinds.push(Arc::clone(&fresh));
        fresh
    }

    pub(crate) fn begin(&self, now: Instant) {
        // Zero means idle, so the first microsecond counts as the second.
        let since_us = micros(now.saturating_duration_since(self.began)).max(1);
        self.handling_since_us.store(since_us, Ordering::Relaxed);
    }

    pub(crate) fn idle(&self) {
        self.handling_since_us.store(0, Ordering::Relaxed);
    }

    fn handling_us(&self) -> Option<u64> {
        let since_us = self.handling_since_us.load(Ordering::Relaxed);
        (since_us != 0).then(|| micros(self.began.elapsed()).saturating_sub(since_us))
    }

    fn handled(&self) -> u64 {
        lock(&self.kinds).iter().map(|count| count.handled.load(Ordering::Relaxed)).sum()
    }

    fn total_us(&self) -> u64 {
        lock(&self.kinds).iter().map(|count| count.total_ns.load(Ordering::Relaxed)).sum::<u64>() / 1_000
    }

    fn max_us(&self) -> u64 {
        lock(&self.kinds).iter().map(|count| count.max_ns.load(Ordering::Relaxed)).max().unwrap_or(0) / 1_000
    }

    fn kinds(&self) -> Vec<KindWork> {
        let shown = |count: &Arc<KindCount>| KindWork {
            kind: count.kind.to_owned(),
            handled: count.handled.load(Ordering::Relaxed),
            total_us: count.total_ns.load(Ordering::Relaxed) / 1_000,
            max_us: count.max_ns.load(Ordering::Relaxed) / 1_000,
        };
        lock(&self.kinds).iter().map(shown).collect()
    }
}

impl KindCount {
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn note(&self, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(took_ns, Ordering::Relaxed);
        self.max_ns.fetch_max(took_ns, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
