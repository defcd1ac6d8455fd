//! The audit log over REST: heads that everyone can check, records that administrators can prove.

use http::{Method, StatusCode};
use unhidra_audit::{Act, Header};
use unhidra_tree::{Hash, SignedHead, verify_consistency, verify_inclusion};
use unhidra_wire::{
    audit::{AuditKey, AuditRecords, ConsistencyProof, InclusionProof, TreeHead, TreeHeads},
    rest::ProblemCode,
};

use super::world::World;

fn hashes(path: &[unhidra_wire::base64::Base64Array<32>]) -> Vec<Hash> {
    path.iter().map(|hash| hash.0).collect()
}

#[tokio::test]
async fn a_member_sees_that_each_head_continues_the_last() {
    let (world, root, alice) = World::with_two().await;
    let key: AuditKey = world.call(Method::GET, "/v1/audit/key", None, None).await.ok();
    let first: TreeHead = world.get("/v1/audit/head", alice.access()).await.ok();
    assert_eq!(SignedHead::from(first).verify(&key.key.0), Ok(()));
    assert_eq!(first.log_id.0, key.log_id.0);
    world.member(&root, "bob").await;
    // The same for a while, then a new one.
    let again: TreeHead = world.get("/v1/audit/head", alice.access()).await.ok();
    assert_eq!(again, first);
    world.hand.advance(std::time::Duration::from_secs(11));
    let second: TreeHead = world.get("/v1/audit/head", alice.access()).await.ok();
    assert!(second.size > first.size);
    let path = format!("/v1/audit/consistency?from={}&to={}", first.size, second.size);
    let proof: ConsistencyProof = world.get(&path, alice.access()).await.ok();
    let path = hashes(&proof.path);
    let check = |root: &Hash| verify_consistency(first.size, root, second.size, &second.root.0, &path);
    assert_eq!(check(&first.root.0), Ok(()));
    assert!(check(&[7; 32]).is_err());
    let impossible = format!("/v1/audit/consistency?from={}&to={}", second.size, first.size);
    assert_eq!(
        world.get(&impossible, alice.access()).await.problem(),
        ProblemCode::Malformed
    );
}

#[tokio::test]
async fn an_administrator_reads_all_records_in_pages_and_proves_each() {
    let (world, root, _) = World::with_two().await;
    let head: TreeHead = world.get("/v1/audit/head", root.access()).await.ok();
    let (mut after, mut read) = (0, Vec::new());
    while after < head.size {
        let page: AuditRecords = world
            .get(&format!("/v1/audit/records?after={after}&limit=7"), root.access())
            .await
            .ok();
        assert!(page.records.len() <= 7);
        after = page.next.unwrap_or(head.size);
        read.extend(page.records);
    }
    assert!((1..).zip(&read).all(|(number, record)| record.number == number));
    for record in read.iter().filter(|record| record.number <= head.size) {
        let path = format!("/v1/audit/records/{}/proof?size={}", record.number, head.size);
        let proof: InclusionProof = world.get(&path, root.access()).await.ok();
        assert_eq!((&proof.record, proof.head), (record, head));
        let leaf = unhidra_crypto::hash::sha256(&[&[0], &record.header.0, &record.commitment.0]);
        let path = hashes(&proof.path);
        assert_eq!(
            verify_inclusion(record.number, &leaf, head.size, &head.root.0, &path),
            Ok(())
        );
    }
    let beyond = format!("/v1/audit/records/{}/proof?size={}", head.size + 1, head.size);
    assert_eq!(
        world.get(&beyond, root.access()).await.problem(),
        ProblemCode::NotFound
    );
    let heads: TreeHeads = world.get("/v1/audit/heads", root.access()).await.ok();
    assert!(heads.heads.contains(&head));
    assert_eq!(world.audited(Act::AuditRead).await, 1);
}

#[tokio::test]
async fn records_are_found_by_act_actor_subject_time_and_text() {
    let (world, root, alice) = World::with_two().await;
    let find = async |query: &str| -> Vec<unhidra_wire::audit::AuditRecord> {
        let page: AuditRecords = world
            .get(&format!("/v1/audit/records?{query}"), root.access())
            .await
            .ok();
        assert_eq!(page.next, None);
        page.records
    };
    let opened = find("act=account-opened").await;
    assert_eq!(opened.len(), 2);
    assert!(
        opened
            .iter()
            .all(|record| record.says.as_ref().unwrap().act == "account-opened")
    );
    let by_alice = find(&format!("actor={}", alice.user)).await;
    assert!(!by_alice.is_empty());
    assert!(
        by_alice
            .iter()
            .all(|record| record.says.as_ref().unwrap().user == Some(alice.user))
    );
    let to_alice = find(&format!("subject={}", alice.user)).await;
    assert!(
        to_alice
            .iter()
            .any(|record| Header::read(&record.header.0).unwrap().act == Act::AccountOpened.number())
    );
    let named = find("text=%22alice%22").await;
    assert!(!named.is_empty());
    assert!(
        named
            .iter()
            .all(|record| record.payload.as_ref().unwrap().contains("alice"))
    );
    assert_eq!(find(&format!("until={}", world.now())).await, []);
    assert!(!find(&format!("since={}", world.now())).await.is_empty());
    for nonsense in [
        "act=nothing-of-the-kind",
        "actor=alice",
        "subject=x",
        "colour=red",
        "after=-1",
    ] {
        let answer = world
            .get(&format!("/v1/audit/records?{nonsense}"), root.access())
            .await;
        assert_eq!(answer.problem(), ProblemCode::Malformed, "{nonsense}");
    }
}

#[tokio::test]
async fn erasing_details_is_recorded_and_leaves_the_tree_as_it_was() {
    let (world, root, _) = World::with_two().await;
    let before: TreeHead = world.get("/v1/audit/head", root.access()).await.ok();
    let path = "/v1/audit/records/2/payload";
    let erase = async || world.call(Method::DELETE, path, Some(root.access()), None).await;
    assert_eq!(erase().await.status, StatusCode::NO_CONTENT);
    assert_eq!(erase().await.problem(), ProblemCode::NotFound);
    let path = format!("/v1/audit/records/2/proof?size={}", before.size);
    let proof: InclusionProof = world.get(&path, root.access()).await.ok();
    assert_eq!((proof.record.salt, proof.record.payload), (None, None));
    let leaf = unhidra_crypto::hash::sha256(&[&[0], &proof.record.header.0, &proof.record.commitment.0]);
    let path = hashes(&proof.path);
    assert_eq!(
        verify_inclusion(2, &leaf, before.size, &before.root.0, &path),
        Ok(())
    );
    let records = world.audit().await;
    let erased = records
        .iter()
        .filter_map(|record| record.read_header().unwrap().erased());
    assert_eq!(erased.collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_head_is_signed_when_an_hour_is_over_or_many_records_came_and_at_the_end() {
    let (world, root, _) = World::with_two().await;
    let sizes = async || -> Vec<u64> {
        let heads = world.store.read(|db| db.audit_heads(0, 100)).await.unwrap();
        heads.into_iter().map(|(_, head)| head.head.size).collect()
    };
    let tick = async || world.identity.sign_if_due(&world.clock.context()).await.unwrap();
    tick().await;
    let first = sizes().await;
    assert_eq!(first.len(), 1, "the first head is due at once");
    tick().await;
    assert_eq!(sizes().await, first);
    world.hand.advance(std::time::Duration::from_secs(3_600));
    tick().await;
    assert_eq!(sizes().await, first, "nothing was recorded since");
    world.get("/v1/admin/nothing", root.access()).await;
    world.get("/v1/audit/records", root.access()).await;
    tick().await;
    assert_eq!(sizes().await.len(), 2);
    let context = world.clock.context();
    let record = world.audit().await.len();
    let record = u64::try_from(record).unwrap();
    let flood = world.store.write(move |tx| {
        let record = unhidra_audit::Record {
            at: context.now,
            org: None,
            actor: unhidra_audit::Actor::Server,
            act: Act::RefusalsCounted,
            subject: unhidra_audit::Subject::Server,
            request: [0; 16],
            details: unhidra_audit::Details::default(),
        };
        for _ in 0..1_000 {
            tx.append_audit(&record, context.random())?;
        }
        Ok::<_, unhidra_store::StoreError>(())
    });
    flood.await.unwrap();
    tick().await;
    assert_eq!(*sizes().await.last().unwrap(), record + 1_000);
    world.identity.note_stop(&context).await.unwrap();
    assert_eq!(
        *sizes().await.last().unwrap(),
        world.store.read(|db| db.audit_size()).await.unwrap()
    );
}
