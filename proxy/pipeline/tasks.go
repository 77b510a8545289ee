package pipeline

import (
	"strings"
	"sync"

	"mcp-sidecar/proxy/wire"
)

// Bounds of the task table. When a bound is reached the oldest id is forgotten,
// and its task can no longer be reached through the sidecar.
const (
	tasksPerOwner = 1024
	taskOwners    = 8192
)

// tasks are the ids of tasks that an upstream gave to each principal. An id is
// no permission by itself: somebody else's would open his task (MCP 2025-11-25,
// basic/utilities/tasks, "Security Considerations").
type tasks struct {
	mu     sync.Mutex
	owners map[string]*ownTasks
}

type ownTasks struct {
	ids   map[string]bool
	order []string // oldest first
}

// holds says whether owner was given the task id.
func (t *tasks) holds(owner, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.owners[owner]
	return own != nil && own.ids[id]
}

func (t *tasks) give(owner, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.owners[owner]
	if own == nil {
		if len(t.owners) >= taskOwners {
			for other := range t.owners {
				delete(t.owners, other)
				break
			}
		}
		if t.owners == nil {
			t.owners = map[string]*ownTasks{}
		}
		own = &ownTasks{ids: map[string]bool{}}
		t.owners[owner] = own
	}
	if own.ids[id] {
		return
	}
	if len(own.order) >= tasksPerOwner {
		delete(own.ids, own.order[0])
		own.order = own.order[1:]
	}
	own.ids[id] = true
	own.order = append(own.order, id)
}

// learnTask notes the task that answers c, if a task does. Lists and questions
// about tasks teach nothing: who may ask is decided by what was given before.
func (p *Pipeline) learnTask(c *Call, m *wire.Message) {
	if c.method == nil || c.method.need == ownTask || c.Method == "tasks/list" {
		return
	}
	id := m.Member(m.Result, "taskId")
	if id == wire.Absent {
		id = m.At(m.Result, "task", "taskId")
	}
	if text := m.Text(id); text != "" {
		p.tasks.give(c.Principal.Key(), strings.Clone(text))
	}
}
