//! The permission matrix, written out: what is not in it is refused.

use unhidra_types::{DeviceId, OrgId, Role, SessionId, UserId};

use crate::{
    Action, ConversationKind, Correspondence, Decision, Denial, Membership, Principal, Resource, decide,
};

/// `+` allowed, `u` unauthenticated, `f` forbidden, `n` not found.
/// The rows of an action name every resource that someone may use it on; for all other resources see [`OTHERWISE`].
const MATRIX: &str = "
    action             resource              anonymous  enrolling  member  admin
    read-public        server                +          +          +       +
    open-account       server                +          +          +       +
    log-in             server                +          +          +       +
    refresh            server                +          +          +       +
    begin-session      own-user              u          +          f       f
    end-session        own-session           u          f          +       +
    end-session        colleague-session     u          f          f       +
    read-self          server                u          f          +       +
    find-user          server                u          f          +       +
    connect            server                u          f          +       +
    invite             server                u          f          f       +
    list-sessions      own-user              u          f          +       +
    delete-account     own-user              u          +          +       +
    list-accounts      server                u          f          f       +
    list-all-sessions  server                u          f          f       +
    list-all-devices   server                u          f          f       +
    list-invitations   server                u          f          f       +
    revoke-invitation  server                u          f          f       +
    read-account       own-user              u          f          f       +
    read-account       colleague             u          f          f       +
    disable-account    own-user              u          f          f       +
    disable-account    colleague             u          f          f       +
    enable-account     own-user              u          f          f       +
    enable-account     colleague             u          f          f       +
    refuse-device      this-device           u          f          f       +
    refuse-device      own-other-device      u          f          f       +
    refuse-device      colleague-device      u          f          f       +
    allow-device       this-device           u          f          f       +
    allow-device       own-other-device      u          f          f       +
    allow-device       colleague-device      u          f          f       +
    read-tree-head     server                u          f          +       +
    read-audit         server                u          f          f       +
    erase-audit-payload server               u          f          f       +
    list-connections   server                u          f          f       +
    close-connection   own-user              u          f          f       +
    close-connection   colleague             u          f          f       +
    read-user          own-user              u          f          +       +
    read-user          colleague             u          f          +       +
    read-chain         own-user              u          +          +       +
    read-chain         colleague             u          f          +       +
    extend-chain       own-user              u          +          +       +
    read-recovery      own-user              u          +          +       +
    replace-recovery   own-user              u          f          +       +
    rotate-identity    own-user              u          f          +       +
    reset-identity     own-user              u          +          f       f
    list-devices       own-user              u          f          +       +
    upload-prekeys     this-device           u          f          +       +
    read-stock         this-device           u          f          +       +
    report-failures    this-device           u          f          +       +
    take-bundles       own-user              u          f          +       +
    take-bundles       colleague             u          f          +       +
    link-as-new-device own-user              u          +          f       f
    link-as-certifier  own-user              u          f          +       +
    open-conversation  own-user              u          f          +       +
    list-conversations own-user              u          f          +       +
    read-entries       direct-member         u          f          +       +
    read-entries       group-member          u          f          +       +
    append-entry       group-member          u          f          +       +
    append             direct-member         u          f          +       +
    append             group-member          u          f          +       +
    append             own-other-control-log u          f          +       +
    append             peer-control-log      u          f          +       +
    read-entries       this-control-log      u          f          +       +
    acknowledge        this-control-log      u          f          +       +
    acknowledge        direct-member         u          f          +       +
    acknowledge        group-member          u          f          +       +
";

/// What every action that the matrix does not name gets on a resource.
const OTHERWISE: &str = "
    resource               anonymous  enrolling  member  admin
    server                 u          f          f       f
    own-user               u          f          f       f
    colleague              u          f          f       f
    stranger               u          n          n       n
    this-device            u          f          f       f
    own-other-device       u          f          f       f
    colleague-device       u          f          f       f
    stranger-device        u          n          n       n
    own-session            u          f          f       f
    colleague-session      u          f          f       f
    stranger-session       u          n          n       n
    direct-member          u          f          f       f
    direct-outsider        u          f          n       n
    group-member           u          f          f       f
    group-outsider         u          f          n       n
    group-of-strangers     u          n          n       n
    this-control-log       u          f          f       f
    own-other-control-log  u          f          f       f
    peer-control-log       u          f          f       f
    colleague-control-log  u          f          n       n
    stranger-control-log   u          n          n       n
";

const PRINCIPALS: [&str; 4] = ["anonymous", "enrolling", "member", "admin"];

const HOME: OrgId = OrgId::from_bytes([1; 16]);
const AWAY: OrgId = OrgId::from_bytes([2; 16]);
const SELF: UserId = UserId::from_bytes([3; 16]);
const OTHER: UserId = UserId::from_bytes([4; 16]);
const THIS: DeviceId = DeviceId::from_bytes([5; 16]);
const THAT: DeviceId = DeviceId::from_bytes([6; 16]);

fn principal(name: &str) -> Principal {
    let device = |role| Principal::Device {
        user: SELF,
        device: THIS,
        session: SessionId::from_bytes([7; 16]),
        org: HOME,
        role,
    };
    match name {
        "anonymous" => Principal::Anonymous,
        "enrolling" => Principal::Enrolling {
            user: SELF,
            org: HOME,
        },
        "member" => device(Role::Member),
        "admin" => device(Role::SuperAdmin),
        _ => panic!("{name}"),
    }
}

fn resource(name: &str) -> Resource {
    let conversation = |org, kind, membership| Resource::Conversation {
        org,
        kind,
        membership,
    };
    use {ConversationKind as K, Membership as M};
    match name {
        "server" => Resource::Server,
        "own-user" => Resource::User {
            user: SELF,
            org: HOME,
        },
        "colleague" => Resource::User {
            user: OTHER,
            org: HOME,
        },
        "stranger" => Resource::User {
            user: OTHER,
            org: AWAY,
        },
        "this-device" => Resource::Device {
            device: THIS,
            user: SELF,
            org: HOME,
        },
        "own-other-device" => Resource::Device {
            device: THAT,
            user: SELF,
            org: HOME,
        },
        "colleague-device" => Resource::Device {
            device: THAT,
            user: OTHER,
            org: HOME,
        },
        "stranger-device" => Resource::Device {
            device: THAT,
            user: OTHER,
            org: AWAY,
        },
        "own-session" => Resource::Session {
            user: SELF,
            org: HOME,
        },
        "colleague-session" => Resource::Session {
            user: OTHER,
            org: HOME,
        },
        "stranger-session" => Resource::Session {
            user: OTHER,
            org: AWAY,
        },
        "direct-member" => conversation(HOME, K::Direct, M::Member),
        "direct-outsider" => conversation(HOME, K::Direct, M::Outsider),
        "group-member" => conversation(HOME, K::Group, M::Member),
        "group-outsider" => conversation(HOME, K::Group, M::Outsider),
        "group-of-strangers" => conversation(AWAY, K::Group, M::Outsider),
        "this-control-log" => control_log(THIS, SELF, HOME, Correspondence::Open),
        "own-other-control-log" => control_log(THAT, SELF, HOME, Correspondence::Open),
        "peer-control-log" => control_log(THAT, OTHER, HOME, Correspondence::Open),
        "colleague-control-log" => control_log(THAT, OTHER, HOME, Correspondence::None),
        "stranger-control-log" => control_log(THAT, OTHER, AWAY, Correspondence::None),
        _ => panic!("{name}"),
    }
}

const fn control_log(device: DeviceId, user: UserId, org: OrgId, correspondence: Correspondence) -> Resource {
    Resource::ControlLog {
        device,
        user,
        org,
        correspondence,
    }
}

fn decision(mark: &str) -> Decision {
    match mark {
        "+" => Decision::Allow,
        "u" => Decision::Deny(Denial::Unauthenticated),
        "f" => Decision::Deny(Denial::Forbidden),
        "n" => Decision::Deny(Denial::NotFound),
        _ => panic!("{mark}"),
    }
}

fn rows(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|row: &Vec<_>| !row.is_empty())
        .skip(1)
        .collect()
}

#[test]
fn every_principal_action_and_resource_is_decided_as_written() {
    let matrix = rows(MATRIX);
    for action in Action::ALL {
        for otherwise in rows(OTHERWISE) {
            let (name, default) = otherwise.split_first().unwrap();
            let row = matrix
                .iter()
                .find(|row| row[0] == action.name() && row[1] == *name);
            let marks = row.map_or(default, |row| &row[2..]);
            for (who, mark) in PRINCIPALS.into_iter().zip(marks) {
                let found = decide(&principal(who), action, &resource(name));
                assert_eq!(found, decision(mark), "{who} {} {name}", action.name());
            }
        }
    }
}

#[test]
fn every_action_has_a_row_and_every_row_an_action() {
    let matrix = rows(MATRIX);
    for action in Action::ALL {
        assert!(
            matrix.iter().any(|row| row[0] == action.name()),
            "{}",
            action.name()
        );
    }
    for row in &matrix {
        assert!(
            Action::ALL.iter().any(|action| action.name() == row[0]),
            "{row:?}"
        );
        assert_eq!(row.len(), 6, "{row:?}");
    }
}

#[test]
fn nobody_reaches_into_another_organisation() {
    for action in Action::ALL {
        for away in [
            "stranger",
            "stranger-device",
            "stranger-session",
            "group-of-strangers",
            "stranger-control-log",
        ] {
            for who in PRINCIPALS {
                assert_ne!(
                    decide(&principal(who), action, &resource(away)),
                    Decision::Allow,
                    "{who} {} {away}",
                    action.name()
                );
            }
        }
    }
}
