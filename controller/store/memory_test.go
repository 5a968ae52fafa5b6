package store

import "testing"

// contract is what the store promises on any etcd, as far as it is tested from
// inside; its other part is in memory_outside_test.go.
var contract = map[string]func(*testing.T){
	"is seen as others read it":                 TestCommit_isSeenAsOthersReadIt,
	"history after a compaction":                TestOpen_whereTheHistoryWasCompacted,
	"deletions after a compaction":              TestFeed_afterACompactionDeletionsAreSeenAndWatchersListAgain,
	"one leader at a time":                      TestLead_oneAtATimeAndTheNextWhenItResigns,
	"shared transactions do as one by one":      TestCommit_sharedTransactionsDoAsOneByOne,
	"a deposed leader writes nothing":           TestLead_aDeposedLeaderIsRefusedEvenIfItDoesNotKnow,
	"a lost lease is made again":                TestSession_aLostLeaseIsMadeAgainWithWhatItHeld,
	"a host that moved":                         TestSetAlive_aHostThatMovedIsNotLetGoByItsOldController,
	"watchers of hosts are told":                TestSetAlive_watchersOfHostsAreTold,
	"a fence ends with the silence":             TestFence_endsWithTheSilenceThatItIsAbout,
	"deciding while one is under way":           TestCommit_decidesWhileTheOneBeforeIsUnderWay,
	"deciding on all that was there":            TestCommit_decidesOnAllThatWasThereWhenItCame,
	"the schema is raised":                      TestSchema_isRaisedWhenTheLastOldControllerHasGone,
	"stale records are written again":           TestSchema_theLeaderWritesStaleRecordsAgain,
	"an answer that was lost":                   TestCommit_anAnswerThatWasLostIsFoundOut,
	"a transaction that was never sent":         TestCommit_whatWasNeverSentIsSentAgain,
	"a transaction that arrives late":           TestCommit_aTransactionThatArrivesLateWritesNothing,
	"the end of the lease and of the mark":      TestCommit_survivesTheEndOfItsLeaseAndOfItsMark,
	"a key that was written around the store":   TestCommit_saysWhichKeyWasWrittenAroundTheStore,
	"a cluster that is newer than this program": TestOpen_refusesAClusterNewerThanTheBinary,
}

func TestInMemory_keepsTheContractFromInside(t *testing.T) {
	t.Setenv(inMemory, "1")
	for name, test := range contract {
		t.Run(name, test)
	}
}
