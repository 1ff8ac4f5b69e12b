//! Its own role: it answers what it is sent, over a protocol and over REST.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::ArgMatches;
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{sync::oneshot, time::Instant};
use wakumix_role_api::{
    Actor, ActorHandle, Address, ConfigChecks, ConfigError, Context, InboundRequest, Inbox, Opening, Ports, Role,
    RoleContext, RoleError, RoleFactory, RoleName, RunningRole, Service, StopReport,
    command::{CommandContext, DEFAULT_NODE, Subcommand},
    config::{Key, Settings, flag, number},
    rest::{Access, Method, Operation, Parameter, Reply, Request, Response, Route, RouteContext},
};
use wakumix_telemetry::{Catalogue, Counter, health::Protocol};

/// The role's name.
pub(crate) const NAME: RoleName = RoleName::new("echo");
/// The protocol that it answers.
pub(crate) const PROTOCOL: &str = "/wakumix/echo/1.0.0";
/// Requests that wait for the role.
const QUEUE: usize = 64;

wakumix_role_api::settings! {
    /// How echoes are made.
    "Echo role" {
        loud: bool = false, flag(), "echo.loud", "answer in capital letters";
        max_len: usize = 1024, number(1..=65_536), "echo.max-len",
            "longest request that is answered, in bytes; longer ones are cut off by the host";
    }
}

/// What the route does: the description of the interface (`/openapi.json`) has it.
const ECHO: Operation = Operation {
    summary: "Answer with the same word",
    parameters: &[Parameter { name: "word", meaning: "The word.", example: "hello", pattern: "^.+$" }],
    body: None,
    replies: &[Reply::text(200, "The word."), Reply::text(503, "The role is off or overloaded.")],
};

wakumix_telemetry::catalogue! {
    EchoAnswersTotal: "waku_mix_echo_answers_total", Counter, Count, [],
        "Requests that the echo role has answered.";
}

/// What the actor takes.
enum EchoMessage {
    /// A request of a peer, or out of the mixnet.
    Request(InboundRequest),
    /// A word that came over REST.
    Word(String, oneshot::Sender<String>),
}

/// The way to the echo role. Cheap to clone.
#[derive(Clone)]
struct EchoHandle(Address<EchoMessage>);

impl EchoHandle {
    /// The echo of a word; `None` when the role is overloaded or has stopped.
    async fn echo(&self, word: String) -> Option<String> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(EchoMessage::Word(word, reply)).ok()?;
        answer.await.ok()
    }
}

/// The state: what is lost with a panic begins anew.
struct Echo {
    loud: bool,
    answers: Counter,
    has_answered: Arc<AtomicBool>,
}

impl Echo {
    fn of(&self, text: &[u8]) -> Vec<u8> {
        self.answers.increment(1);
        self.has_answered.store(true, Ordering::Relaxed);
        if self.loud { text.to_ascii_uppercase() } else { text.to_vec() }
    }
}

impl Actor for Echo {
    type Message = EchoMessage;

    const NAME: &'static str = "echo";

    fn handle(&mut self, message: EchoMessage, _: &Context<EchoMessage>) {
        // Whoever does not wait for the answer does not need it.
        match message {
            EchoMessage::Request(request) => drop(request.respond.send(self.of(&request.body))),
            EchoMessage::Word(word, reply) => {
                drop(reply.send(String::from_utf8_lossy(&self.of(word.as_bytes())).into_owned()));
            }
        }
    }
}

/// The role, for the list of a node's roles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EchoFactory;

impl RoleFactory for EchoFactory {
    fn name(&self) -> RoleName {
        NAME
    }

    fn summary(&self) -> &'static str {
        "answers what it is sent"
    }

    fn protocols(&self) -> &'static [Protocol] {
        &[Protocol::Other("Echo")]
    }

    fn keys(&self) -> Vec<Key> {
        Config::keys()
    }

    fn metrics(&self) -> Option<&'static Catalogue> {
        Some(&METRICS)
    }

    fn routes(&self) -> Vec<Route> {
        let handler = |context: RouteContext, request: Request| {
            async move {
                let Some(echo) = context.ports.get::<EchoHandle>() else {
                    return Response::unavailable("no echo role");
                };
                match echo.echo(request.parameter("word").to_owned()).await {
                    Some(answer) => Response::text(200, answer),
                    None => Response::unavailable("the echo role is overloaded; try again later"),
                }
            }
            .boxed()
        };
        let (access, method) = (Access::Everybody, Method::Get);
        vec![Route { access, method, path: "/echo/v1/{word}", takes: false, operation: &ECHO, handler }]
    }

    fn commands(&self) -> Vec<Subcommand> {
        let command = || {
            clap::Command::new("echo")
                .about("Ask a running node for an echo")
                .arg(clap::Arg::new("word").required(true).value_name("WORD"))
                .arg(clap::Arg::new("via").long("via").value_name("NODE").default_value(DEFAULT_NODE))
        };
        let run = |matches: &ArgMatches, context: &mut CommandContext<'_>| {
            let text = |name| matches.get_one::<String>(name).map_or("", String::as_str);
            let node = (context.connect)(text("via"), Duration::from_secs(10))?;
            std::io::copy(&mut node.get(&format!("/echo/v1/{}", text("word")))?, context.out)?;
            Ok(writeln!(context.out)?)
        };
        vec![Subcommand { command, run }]
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError> {
        let config = Config::read(settings)?;
        let mut checks = ConfigChecks::default();
        config.check_ranges(&mut checks);
        checks.finish().map_err(Config::by_key)?;
        Ok(Box::new(EchoRole { config, queue: None }))
    }
}

/// Configured and not yet running.
struct EchoRole {
    config: Config,
    queue: Option<(Address<EchoMessage>, Inbox<EchoMessage>)>,
}

impl Role for EchoRole {
    fn name(&self) -> RoleName {
        NAME
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), RoleError> {
        let (address, inbox) = opening.queue("echo", QUEUE);
        opening.port(EchoHandle(address.clone()))?;
        self.queue = Some((address, inbox));
        Ok(())
    }

    fn services(&self, ports: &Ports) -> Vec<Service> {
        let Some(EchoHandle(address)) = ports.get() else { return Vec::new() };
        // A request that finds the queue full gets no answer.
        let sink = move |request| drop(address.try_send(EchoMessage::Request(request)));
        vec![Service::new(PROTOCOL, self.config.max_len, sink)]
    }

    fn start(self: Box<Self>, context: &RoleContext) -> Result<Box<dyn RunningRole>, RoleError> {
        let problem = "its queue was not opened".to_owned();
        let (address, inbox) = self.queue.ok_or(RoleError { role: NAME, problem })?;
        let answers = context.telemetry.counter(Metric::EchoAnswersTotal, &[]);
        let (loud, has_answered) = (self.config.loud, Arc::new(AtomicBool::new(false)));
        let answered = Arc::clone(&has_answered);
        let factory = move || Echo { loud, answers: answers.clone(), has_answered: Arc::clone(&has_answered) };
        let actor = context.supervisor.start(address, inbox, 0, factory);
        Ok(Box::new(RunningEcho { actor, answered }))
    }
}

/// Running.
struct RunningEcho {
    actor: ActorHandle,
    answered: Arc<AtomicBool>,
}

impl RunningRole for RunningEcho {
    fn name(&self) -> RoleName {
        NAME
    }

    fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    fn ready(&self) -> Result<(), String> {
        self.answered.load(Ordering::Relaxed).then_some(()).ok_or_else(|| "nobody has asked yet".to_owned())
    }

    fn stop(&self, deadline: Instant) -> BoxFuture<'static, StopReport> {
        let actor = self.actor.clone();
        async move { StopReport { in_time: actor.stop(deadline).await, ..StopReport::default() } }.boxed()
    }
}
