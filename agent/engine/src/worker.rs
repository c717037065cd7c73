//! One container: claims its attempt, gives up its rights, runs its guest.
//!
//! The order is the point of `main`. First the claim, which no second worker
//! for the same attempt can make; then all that needs the runtime's rights
//! (cgroups, mounts); then the lockdown; then the guest, on this thread, which
//! stays the only one, or a server that answers by many guests. Whatever happens, the last line of the journal is the
//! truth about it, written before the process ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode as Permissions, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Resource};

use crate::engine::{Code, Engine};
use crate::forks;
use crate::guest::{Guest, Guests};
use crate::news::News;
use crate::outcomes::{self, Outcome};
use crate::output::{self, Output};
use crate::process;
use crate::records::{self, EndedBy, Exec, ExitRecord, Http, JOURNAL, Kind, Mode, Run, SPEC, Spec};
use crate::serving::{Doors, Server, Source};
use crate::streams::Streams;

const FILES: u64 = 1024;
const SERVER_FILES: u64 = 8192; // connections
const PROCESSES: u64 = 128;
const PROCESSES_EACH: u64 = 4; // of a run: itself, and threads of it
const NOT_STARTED: u8 = 128;

/// Be the worker of one attempt; `fds` are its directory, its log and the pipe
/// whose end says that it has begun, and listeners where it serves HTTP. `bell`
/// is rung for what is new later.
///
/// # Errors
/// It could not even be claimed; from there on the journal says how it ended.
pub fn main(
    engine: &'static Engine,
    order: &Run,
    fds: Vec<OwnedFd>,
    bell: RawFd,
    init: Pid,
) -> io::Result<()> {
    let ([directory, log, pipe], doors) = forks::take(fds)?;
    output::end_on_sigterm()?;
    let Some(mut diary) = Diary::claim(&directory, pipe)? else { return Ok(()) };
    let output = Output::install(log);
    let news = News::install(diary.journal, bell);
    let ready = prepare(engine, order, &directory, doors, (output, news), &diary, init);
    std::mem::forget(directory); // it is closed by now, with all that is not ours
    let ran = match ready {
        Ok(Ready::Command(command)) => {
            catch_unwind(AssertUnwindSafe(|| command.run(engine, "", || diary.enter())))
        }
        Ok(Ready::Server(start)) => catch_unwind(AssertUnwindSafe(|| {
            let Start { wanted, doors, code, guests } = *start;
            Server::run(wanted, doors, code, guests, || diary.enter()).map(|()| outcomes::stopped())
        })),
        Err(why) => diary.end(&never_started(&why)),
    };
    diary.conclude(ran, |trace| output.close(trace))
}

/// Be the worker of a program beside an attempt; `fds` are a directory of its
/// own, the pipe as of `main`, and its three streams. Nothing stops it but a kill.
///
/// # Errors
/// As of `main`.
pub fn beside(
    engine: &'static Engine,
    order: &Exec,
    fds: Vec<OwnedFd>,
    bell: RawFd,
    init: Pid,
) -> io::Result<()> {
    let ([directory, pipe, stdin, stdout, stderr], _) = forks::take(fds)?;
    let Some(mut diary) = Diary::claim(&directory, pipe)? else { return Ok(()) };
    let streams = Streams::given([stdin, stdout, stderr]);
    let news = News::install(diary.journal, bell);
    let ready = begin("exec", &order.run, &directory, &diary, news, streams.fds())
        .and_then(|spec| Command::of(engine, &order.run, &spec, &streams, news, init));
    std::mem::forget(directory); // as above
    let ran = match ready {
        Ok(command) => {
            catch_unwind(AssertUnwindSafe(|| command.run(engine, &order.export, || diary.enter())))
        }
        Err(why) => diary.end(&never_started(&why)),
    };
    diary.conclude(ran, |trace| streams.say(trace))
}

/// What is left to do, without any rights.
enum Ready {
    Command(Box<Command>),
    Server(Box<Start>),
}

struct Start {
    wanted: Http,
    doors: Doors,
    code: Source,
    guests: Guests,
}

/// One guest of the only kind that its process has.
struct Command {
    code: Code,
    guest: Guest,
    /// Of code that was compiled for another one than that of the fork server.
    engine: Option<Engine>,
}

impl Command {
    /// Open all that it needs, and give up all rights.
    fn of(
        engine: &Engine,
        order: &Run,
        spec: &Spec,
        streams: &Streams,
        news: &'static News,
        init: Pid,
    ) -> Result<Self, String> {
        let limit_bytes = spec.memory_limit_bytes.filter(|_| order.bounded);
        let guest = Guest::admit(spec, streams, news, limit_bytes)?;
        std::env::set_current_dir(&order.cache).map_err(cannot("enter the cache"))?;
        lock_down(order.uid, init, FILES, PROCESSES).map_err(cannot("give up its rights"))?;
        let own = match order.kind {
            kind @ (Kind::Proxy | Kind::Service) => {
                Some(Engine::of_servers(kind).map_err(|error| format!("{error:?}"))?)
            }
            Kind::Module | Kind::Component => None,
        };
        let code = own.as_ref().unwrap_or(engine).load(&order.artifact, order.kind)?;
        std::env::set_current_dir("/").map_err(cannot("leave the cache"))?;
        Ok(Self { code, guest, engine: own })
    }

    fn run(
        self,
        engine: &Engine,
        export: &str,
        entering: impl FnOnce(),
    ) -> Result<Outcome, String> {
        let engine = self.engine.as_ref().unwrap_or(engine);
        engine.run(&self.code, self.guest, export, entering)
    }
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot {what}: {error}")
}

/// Everything that comes between the claim and the guest.
fn prepare(
    engine: &'static Engine,
    order: &Run,
    directory: &OwnedFd,
    doors: Vec<OwnedFd>,
    (output, news): (&'static Output, &'static News),
    diary: &Diary,
    init: Pid,
) -> Result<Ready, String> {
    let mut kept = vec![output.fd()];
    kept.extend(doors.iter().map(AsRawFd::as_raw_fd));
    let spec = begin("wasm", order, directory, diary, news, kept)?;
    let Some(wanted) = spec.http.clone() else {
        let streams = Streams::Logged(output);
        let command = Command::of(engine, order, &spec, &streams, news, init)?;
        return Ok(Ready::Command(Box::new(command)));
    };
    let doors = Doors::of(doors)?;
    std::env::set_current_dir(&order.cache).map_err(cannot("enter the cache"))?;
    let code = match wanted.mode {
        Mode::Proxy => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = rustix::fs::open(&*order.artifact, flags, Permissions::empty());
            let file = file.map_err(|error| cannot("open compiled code")(error.into()))?;
            Source::Component(file, order.kind)
        }
        Mode::Wagi => Source::Module(engine, engine.load(&order.artifact, order.kind)?),
    };
    std::env::set_current_dir("/").map_err(cannot("leave the cache"))?;
    let runs = u64::from(if wanted.mode == Mode::Wagi { wanted.concurrency } else { 0 });
    let guests = Guests::admit(spec, output, news)?;
    lock_down(order.uid, init, SERVER_FILES, PROCESSES + runs * PROCESSES_EACH)
        .map_err(cannot("give up its rights"))?;
    Ok(Ready::Server(Box::new(Start { wanted, doors, code, guests })))
}

/// Become a process of its own: with a session and a name, without anybody's
/// descriptors but those that are kept, and within its bounds.
fn begin(
    kind: &str,
    order: &Run,
    directory: &OwnedFd,
    diary: &Diary,
    news: &News,
    mut kept: Vec<RawFd>,
) -> Result<Spec, String> {
    rustix::process::setsid().map_err(|error| cannot("begin a session")(error.into()))?;
    rustix::process::umask(Permissions::WGRP | Permissions::WOTH);
    let spec = read_spec(directory)?;
    let name = format!("{kind}:{}", spec.id.container);
    process::set_name(&name).map_err(cannot("take its name"))?;
    process::null_stdio().map_err(cannot("open /dev/null"))?;
    kept.push(diary.pipe_fd());
    kept.extend(news.fds());
    process::close_all_but(&mut kept).map_err(cannot("close descriptors"))?;
    for group in &order.cgroups {
        std::fs::write(group, b"0").map_err(|error| format!("cannot join {group}: {error}"))?;
    }
    Ok(spec)
}

fn read_spec(directory: &OwnedFd) -> Result<Spec, String> {
    let cannot = |error: io::Error| format!("cannot read {SPEC}: {error}");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, SPEC, flags, Permissions::empty());
    let mut text = Vec::new();
    File::from(file.map_err(|error| cannot(error.into()))?)
        .read_to_end(&mut text)
        .map_err(cannot)?;
    serde_json::from_slice(&text).map_err(|error| cannot(error.into()))
}

fn lock_down(uid: Option<u32>, init: Pid, files: u64, processes: u64) -> io::Result<()> {
    process::limit(Resource::Core, 0)?;
    process::limit(Resource::Nofile, files)?;
    if uid.is_some() {
        process::limit(Resource::Nproc, processes)?;
    }
    process::become_user(uid)?;
    process::die_with_parent(init)?;
    process::unblock_signals();
    Ok(())
}

fn never_started(why: &str) -> ExitRecord {
    let now_ns = process::unix_ns();
    ExitRecord {
        code: NOT_STARTED,
        ended_by: EndedBy::NeverStarted,
        reason: "StartError",
        message: records::cut(why),
        started_at_ns: now_ns,
        finished_at_ns: now_ns,
    }
}

/// Writes the journal, and wakes the supervisor when the guest is entered.
struct Diary {
    journal: &'static File,
    pipe: Option<OwnedFd>,
    entered_at_ns: u64,
}

impl Diary {
    /// Claim the attempt; None: it is another worker's, or nobody's.
    fn claim(directory: &OwnedFd, pipe: OwnedFd) -> io::Result<Option<Self>> {
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(directory, JOURNAL, flags, Permissions::from_raw_mode(0o640));
        let mut journal = match opened {
            Ok(fd) => File::from(fd),
            // The request came twice, or nobody wants it any more.
            Err(Errno::EXIST | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let ticks = records::start_ticks(&stat)
            .ok_or_else(|| io::Error::other("cannot find its start in /proc/self/stat"))?;
        let pid = rustix::process::getpid().as_raw_pid();
        journal.write_all(&records::claimed(pid, ticks, process::unix_ns()))?;
        if !is_read(&pipe)? {
            // The supervisor that asked is dead, and the next one may have
            // looked before the claim: it would not know of us. Had it been
            // alive after the claim, every later one would find that.
            rustix::fs::unlinkat(directory, JOURNAL, AtFlags::empty())?;
            return Ok(None);
        }
        let journal = Box::leak(Box::new(journal)); // as long as this process
        Ok(Some(Self { journal, pipe: Some(pipe), entered_at_ns: 0 }))
    }

    fn pipe_fd(&self) -> i32 {
        self.pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    fn enter(&mut self) {
        self.entered_at_ns = process::unix_ns();
        self.write(&records::entered(self.entered_at_ns));
        self.pipe = None;
    }

    fn by_itself(&self, outcome: &Outcome) -> ExitRecord {
        ExitRecord {
            code: outcome.code,
            ended_by: outcome.ended_by,
            reason: outcome.reason,
            message: records::cut(&outcome.message),
            started_at_ns: self.entered_at_ns,
            finished_at_ns: process::unix_ns(),
        }
    }

    /// Tell how it went; `close` is given what is to be said of that, last of all.
    fn conclude(
        &mut self,
        ran: std::thread::Result<Result<Outcome, String>>,
        close: impl FnOnce(&str),
    ) -> ! {
        let outcome = match ran {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => {
                close("");
                self.end(&never_started(&why))
            }
            Err(panic) => {
                outcomes::failed(panic.downcast_ref::<String>().map_or("panic", |text| text))
            }
        };
        close(&outcome.trace);
        let how = self.by_itself(&outcome);
        self.end(&how)
    }

    fn end(&mut self, how: &ExitRecord) -> ! {
        self.write(&records::ended(how));
        process::exit(how.code)
    }

    fn write(&mut self, line: &[u8]) {
        let _ = self.journal.write_all(line); // a full disk: the supervisor sees the status
    }
}

fn is_read(pipe: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut fds, Some(&now))? == 0) // else it is ERR: nobody has the other end
}
