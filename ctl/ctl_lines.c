#include "ctl_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROTATED_MAX 1000
#define PATH_SIZE 4096

static void name_file(const struct ctl_lines *s, char path_r[static PATH_SIZE])
{
    if (s->rotated > 0)
        snprintf(path_r, PATH_SIZE, "%s.%d", s->path, s->rotated);
    else
        snprintf(path_r, PATH_SIZE, "%s", s->path);
}

static enum ctl_exit open_present(struct ctl_lines *s)
{
    char path[PATH_SIZE];
    if (strcmp(s->path, "-") == 0) {
        s->file = stdin;
        return CTL_DONE;
    }
    name_file(s, path);
    s->file = fopen(path, "re");
    if (s->file)
        return CTL_DONE;
    fprintf(stderr, "chasquictl: %s: %s\n", path, strerror(errno));
    return CTL_USAGE;
}

int ctl_lines_rotated(const struct ctl_lines *lines)
{
    struct ctl_lines look = *lines;
    char path[PATH_SIZE];
    for (look.rotated = 1; look.rotated <= ROTATED_MAX; look.rotated++) {
        name_file(&look, path);
        if (access(path, F_OK) != 0)
            break;
    }
    return look.rotated - 1;
}

static void close_present(struct ctl_lines *s)
{
    if (s->file && s->file != stdin)
        fclose(s->file);
    s->file = NULL;
}

ssize_t ctl_lines_next(struct ctl_lines *s, enum ctl_exit *status_r)
{
    while (s->rotated >= 0) {
        if (!s->file && (*status_r = open_present(s)) != CTL_DONE)
            return 0;
        ssize_t len = getline(&s->line, &s->line_size, s->file);
        if (len > 0 && (s->line[len - 1] == '\n' || s->file == stdin))
            return len;
        close_present(s);
        s->rotated--;
    }
    return 0;
}

void ctl_lines_fini(struct ctl_lines *s)
{
    close_present(s);
    free(s->line);
    *s = (struct ctl_lines){0};
}
