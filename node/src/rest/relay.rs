//! `/relay/v1`: subscriptions and messages of pubsub topics.

use actix_web::{HttpResponse, http::StatusCode, web};
use wakumix_role_api::relay::RelayHandle;
use wakumix_waku::{PubsubTopic, WakuMessage};

use super::{
    Api,
    body::{self, MessageJson, ReceivedJson, Refused, text},
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

async fn subscribe(api: web::Data<Api>, bytes: web::Bytes) -> Result<HttpResponse, Refused> {
    let (relay, topics) = relay_and_topics(&api, &bytes)?;
    for topic in topics {
        relay.subscribe(topic).await.map_err(Refused::unavailable)?;
    }
    Ok(text(StatusCode::OK, "OK"))
}

async fn unsubscribe(api: web::Data<Api>, bytes: web::Bytes) -> Result<HttpResponse, Refused> {
    let (relay, topics) = relay_and_topics(&api, &bytes)?;
    for topic in topics {
        relay.unsubscribe(topic).await.map_err(Refused::unavailable)?;
    }
    Ok(text(StatusCode::OK, "OK"))
}

async fn messages(api: web::Data<Api>, topic: web::Path<String>) -> Result<HttpResponse, Refused> {
    let relay = relay(&api)?;
    let topic = PubsubTopic::parse(&topic)?;
    let kept = relay.messages(topic.as_str().to_owned()).await.map_err(Refused::unavailable)?;
    let received = kept.ok_or_else(|| {
        let words = format!("not subscribed to {}; subscribe with POST /relay/v1/subscriptions", topic.as_str());
        Refused::new(StatusCode::NOT_FOUND, words)
    })?;
    Ok(HttpResponse::Ok().json(received.into_iter().map(ReceivedJson::from).collect::<Vec<_>>()))
}

async fn publish(api: web::Data<Api>, topic: web::Path<String>, bytes: web::Bytes) -> Result<HttpResponse, Refused> {
    let relay = relay(&api)?;
    let topic = PubsubTopic::parse(&topic)?;
    let message = body::parse::<MessageJson>(&bytes).and_then(WakuMessage::try_from).map_err(Refused::bad_request)?;
    let overloaded = || Refused::unavailable("the relay is overloaded; try again later");
    let published = relay.publish(Some(topic.as_str().to_owned()), message).await.ok_or_else(overloaded)?;
    let words = published.description.unwrap_or_default();
    match published.status {
        200 => Ok(text(StatusCode::OK, "OK")),
        // nwaku answers 400 for what its validators refuse, 500 otherwise.
        400..500 => Err(Refused::bad_request(words)),
        _ => Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, words)),
    }
}

fn relay(api: &Api) -> Result<&RelayHandle, Refused> {
    api.relay.as_ref().ok_or_else(|| Refused::unavailable("the relay role is off; add it to roles"))
}

fn relay_and_topics<'a>(api: &'a Api, bytes: &web::Bytes) -> Result<(&'a RelayHandle, Vec<String>), Refused> {
    let relay = relay(api)?;
    let topics: Vec<String> = body::parse(bytes).map_err(Refused::bad_request)?;
    for topic in &topics {
        let parsed = PubsubTopic::parse(topic)?;
        if parsed.cluster() != api.sharding.cluster {
            let words = format!("{topic} is of another cluster; this node is in {}", api.sharding.cluster);
            return Err(Refused::bad_request(words));
        }
    }
    Ok((relay, topics))
}
