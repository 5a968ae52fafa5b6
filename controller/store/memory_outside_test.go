package store_test

import (
	"testing"

	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

// contract is what the store promises on any etcd, as far as it is tested from
// outside; its other part is in memory_test.go.
var contract = map[string]func(*testing.T){
	"create, read, update, delete":             TestCommit_createReadUpdateDeleteLeavesNothing,
	"agree on what the first said":             TestAgree_onWhatTheFirstSaid,
	"what is taken, missing or in use":         TestCommit_refusesWhatIsTakenMissingOrInUse,
	"errors of decide":                         TestCommit_errorsOfDecideComeBackAsTheyAre,
	"what changes nothing":                     TestCommit_whatChangesNothingSpendsNoRevision,
	"one of 200 takes the name":                TestCommit_oneOf200TakesTheName,
	"a quota holds exactly":                    TestCommit_aQuotaJudgedByDecideHoldsExactly,
	"deletion and reference":                   TestCommit_deletionAndReferenceNeverBothSucceed,
	"idempotency keys":                         TestCommit_idempotencyKeyTakenOnceAcrossProcesses,
	"a change that is too large":               TestCommit_oneChangeTooLargeIsRefusedAndOthersAreNot,
	"a caller that gave up":                    TestCommit_callerThatGaveUpIsNotDecidedAnyMore,
	"a placement counts on its host":           TestCommit_placementCountsOnItsHostAndGoesWithTheInstance,
	"a report under an old placement":          TestCommit_reportUnderAnOldPlacementConflicts,
	"a delete shows the object as it was last": TestWatch_aDeleteShowsTheObjectAsItWasLast,
	"bookmarks":                                TestWatch_bookmarksWhenCaughtUpAndWakesForItsKindOnly,
	"what is older than the history":           TestWatch_refusesWhatIsOlderThanTheHistory,
	"a slow watcher":                           TestWatch_aWatcherThatIsSlowHoldsUpNobodyAndIsTold,
	"a watch ends with the store":              TestWatch_endsWithTheStore,
}

func TestInMemory_keepsTheContract(t *testing.T) {
	t.Setenv(storetest.InMemory, "1")
	for name, test := range contract {
		t.Run(name, test)
	}
}
