//! `/relay/v1`: subscriptions and messages of pubsub topics.

use actix_web::{HttpResponse, Responder, http::StatusCode, web};
use wakumix_role_api::relay::RelayHandle;
use wakumix_waku::{PubsubTopic, WakuMessage};

use super::{
    Api,
    body::{self, MessageJson, ReceivedJson, text},
};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/relay/v1/subscriptions")
                .route(web::post().to(subscribe))
                .route(web::delete().to(unsubscribe)),
        )
        .service(
            web::resource("/relay/v1/messages/{topic}").route(web::get().to(messages)).route(web::post().to(publish)),
        );
}

async fn subscribe(api: web::Data<Api>, bytes: web::Bytes) -> impl Responder {
    let (relay, topics) = match relay_and_topics(&api, &bytes) {
        Ok(found) => found,
        Err(refused) => return refused,
    };
    for topic in topics {
        if let Err(problem) = relay.subscribe(topic).await {
            return text(StatusCode::SERVICE_UNAVAILABLE, problem);
        }
    }
    text(StatusCode::OK, "OK")
}

async fn unsubscribe(api: web::Data<Api>, bytes: web::Bytes) -> impl Responder {
    let (relay, topics) = match relay_and_topics(&api, &bytes) {
        Ok(found) => found,
        Err(refused) => return refused,
    };
    for topic in topics {
        if let Err(problem) = relay.unsubscribe(topic).await {
            return text(StatusCode::SERVICE_UNAVAILABLE, problem);
        }
    }
    text(StatusCode::OK, "OK")
}

async fn messages(api: web::Data<Api>, topic: web::Path<String>) -> impl Responder {
    let relay = match relay(&api) {
        Ok(relay) => relay,
        Err(refused) => return refused,
    };
    let topic = topic.into_inner();
    if let Err(error) = PubsubTopic::parse(&topic) {
        return text(StatusCode::BAD_REQUEST, error.to_string());
    }
    match relay.messages(topic.clone()).await {
        Ok(Some(received)) => HttpResponse::Ok().json(received.into_iter().map(ReceivedJson::from).collect::<Vec<_>>()),
        Ok(None) => text(
            StatusCode::NOT_FOUND,
            format!("not subscribed to {topic}; subscribe with POST /relay/v1/subscriptions"),
        ),
        Err(problem) => text(StatusCode::SERVICE_UNAVAILABLE, problem),
    }
}

async fn publish(api: web::Data<Api>, topic: web::Path<String>, bytes: web::Bytes) -> impl Responder {
    let relay = match relay(&api) {
        Ok(relay) => relay,
        Err(refused) => return refused,
    };
    let topic = match PubsubTopic::parse(&topic) {
        Ok(topic) => topic,
        Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let message = match body::parse::<MessageJson>(&bytes).and_then(WakuMessage::try_from) {
        Ok(message) => message,
        Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
    };
    match relay.publish(Some(topic.as_str().to_owned()), message).await {
        Some(published) if published.status == 200 => text(StatusCode::OK, "OK"),
        // nwaku answers 400 for what its validators refuse, 500 otherwise.
        Some(published) if (400..500).contains(&published.status) => {
            text(StatusCode::BAD_REQUEST, published.description.unwrap_or_default())
        }
        Some(published) => text(StatusCode::INTERNAL_SERVER_ERROR, published.description.unwrap_or_default()),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "the relay is overloaded; try again later"),
    }
}

fn relay(api: &Api) -> Result<&RelayHandle, HttpResponse> {
    api.relay.as_ref().ok_or_else(|| text(StatusCode::SERVICE_UNAVAILABLE, "the relay role is off; add it to roles"))
}

fn relay_and_topics<'a>(api: &'a Api, bytes: &web::Bytes) -> Result<(&'a RelayHandle, Vec<String>), HttpResponse> {
    let relay = relay(api)?;
    let refused = |problem: String| text(StatusCode::BAD_REQUEST, problem);
    let topics: Vec<String> = body::parse(bytes).map_err(refused)?;
    for topic in &topics {
        let parsed = PubsubTopic::parse(topic).map_err(|error| refused(error.to_string()))?;
        if parsed.cluster() != api.sharding.cluster {
            return Err(refused(format!("{topic} is of another cluster; this node is in {}", api.sharding.cluster)));
        }
    }
    Ok((relay, topics))
}
