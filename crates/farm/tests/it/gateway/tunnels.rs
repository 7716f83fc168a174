//! Tests the limit of a user's tunnels, and the reasons for their end.

use super::*;

#[test]
fn a_user_has_a_bound_of_tunnels() {
    let host = peer(b'1');
    let (farm, _, web) = site(&[host.address]);
    let role = role(&farm, None);
    let mut held = Vec::new();
    let denied = loop {
        let mut socket = WebSocketTunnel::new(web, &basic("anna", "secret"));
        let answer = socket.opens(0, None);
        if answer[10..14] != [0; 4] {
            break answer;
        }
        held.push(socket);
        assert!(held.len() <= 16);
    };
    assert_eq!(denied[10..14], 0x8007_59e6_u32.to_le_bytes());
    assert_eq!((held.len(), number(&role, "gateway over limit")), (16, 1));
}

#[test]
fn a_tunnel_without_input_ends() {
    let host = peer(b'1');
    let (mut farm, _, web) = site(&[host.address]);
    farm.gateway.as_mut().expect("a gateway").idle_ms = Some(100);
    let role = role(&farm, None);
    let mut socket = WebSocketTunnel::new(web, &basic("anna", "secret"));
    socket.opens(0, None);
    assert_eq!(socket.reaches("ts1", host.address.port()), 0);
    let last = socket.receive().expect("the end");
    assert_eq!(last, framed(0x10, &0x8007_59f6_u32.to_le_bytes()));
    assert!(eventually(SOON, || number(&role, "gateway expired") == 1));
}

#[test]
fn an_operator_ends_the_tunnels_of_a_user_to_hosts() {
    let host = peer(b'1');
    let (farm, _, web) = site(&[host.address]);
    let mut role = role(&farm, None);
    let mut socket = WebSocketTunnel::new(web, &basic("EXAMPLE\\Anna", "secret"));
    socket.opens(0, None);
    assert_eq!(socket.reaches("ts1", host.address.port()), 0);
    let mut disconnect = |user: &str, host: &str| -> OrderResponse {
        let (user, host) = (user.to_owned(), host.to_owned());
        codec::decode(&role.order(&OperatorMessage::Disconnect { user, host })).expect("an answer")
    };
    assert!(!disconnect("bert", "").good);
    assert!(!disconnect("anna", "office/ts9").good);
    assert_eq!(
        disconnect("anna", "office/ts1").words,
        "1 connection of anna to ts1 is being closed; the session stays at its host"
    );
    let last = socket.receive().expect("the end");
    assert_eq!(last, framed(0x10, &0x0000_04d4_u32.to_le_bytes()));
    assert!(eventually(SOON, || number(&role, "tunnels") == 0));
    let steps = &why(&mut role, "anna").farms[0].steps;
    assert_eq!(steps.last().expect("a step").got, "disconnected from ts1");
}

#[test]
fn a_reload_ends_the_tunnels_of_users_who_are_gone_or_have_another_password() {
    let host = peer(b'1');
    let (mut farm, at, web) = site(&[host.address]);
    farm.users.users.push(user("cleo", "hidden"));
    let mut role = role(&farm, None);
    let [mut bert, anna, cleo] = ["bert", "anna", "cleo"].map(|name| {
        let mut socket = WebSocketTunnel::new(web, COOKIE_SCHEME);
        socket.opens(2, Some(&cookie(&farm, name)));
        // To a host, and to the farm itself.
        let (to, port) = match name {
            "cleo" => ("desktop.example.org", at.port()),
            _ => ("ts1", host.address.port()),
        };
        assert_eq!(socket.reaches(to, port), 0);
        socket
    });
    farm.users.users.retain(|user| user.account.name != "cleo");
    farm.users.users[0] = user("anna", "another");
    role.change(&payload(&farm)).expect("it changes");
    for mut ended in [anna, cleo] {
        let last = ended.receive().expect("the end");
        assert_eq!(last, framed(0x10, &0x0000_04d4_u32.to_le_bytes()));
    }
    assert!(eventually(SOON, || number(&role, "tunnels") == 1));
    role.change(&payload(&farm)).expect("it changes");
    bert.meets_a_host();
    let steps = &why(&mut role, "anna").farms[0].steps;
    let step = steps.last().expect("a step");
    assert_eq!(step.got, "disconnected from ts1", "{step:?}");
}
