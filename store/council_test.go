package store

import (
	"testing"
	"time"
)

// TestALearnerThatDoesNotAnswerOnceIsNotPutOut: it had caught up, so it gets the whole time again.
func TestALearnerThatDoesNotAnswerOnceIsNotPutOut(t *testing.T) {
	c := &Council{}
	c.begin()
	const learner = 7
	c.age(learner)
	c.behind[learner] = time.Now().Add(-time.Hour)
	if got := c.age(learner); got < time.Hour {
		t.Errorf("one that never caught up is %s old", got)
	}
	c.ready[learner] = true
	c.age(learner)
	c.ready[learner] = false
	if got := c.age(learner); got > time.Minute {
		t.Errorf("one that had caught up is %s old", got)
	}
}
