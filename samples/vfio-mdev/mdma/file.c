// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files that carry a migration stream.
 *
 * A saving file has the CONFIG record from the begin, and the rest when the
 * device has stopped. A resuming file collects what is written and looks at each
 * record as soon as it is complete.
 *
 * User memory is copied under mdma_file.io only, and the device never takes
 * that lock: a user whose memory stalls keeps only its own threads waiting.
 * What the device and the user share is under mdma_file.lock.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/wait.h>

#include "file.h"
#include "stream.h"

#define FIRST_ROOM	4096	/* of a file, in bytes */
#define PIECE		65536	/* most that is copied at once */

/*
 * @dead: the device has left the states in which the file is used; then it alone
 * has @parsed and @snap. @precopy: more will follow.
 */
struct mdma_file {
	struct file *filp;
	struct mutex io;	/* one reader or writer */
	struct mutex lock;	/* all fields */
	wait_queue_head_t wait;
	u32 id;			/* of the device, for messages */
	bool dead;
	bool precopy;
	int parsed;		/* what mdma_stream_continue() said last */
	size_t size;		/* of the stream so far */
	size_t pos;		/* of the reader */
	size_t room;		/* bytes of @data */
	u8 *data;
	struct mdma_stream_parser parser;
	struct mdma_snapshot snap;
};

/* Copies what there is, up to @count bytes, to @piece; @pos stays as it is. */
static ssize_t take_piece(struct mdma_file *file, void *piece, size_t count)
{
	ssize_t ret = -ENODEV;

	mutex_lock(&file->lock);
	count = min(count, file->size - file->pos);
	if (!file->dead) {
		memcpy(piece, &file->data[file->pos], count);
		ret = count || !file->precopy ? count : -ENOMSG;
	}
	mutex_unlock(&file->lock);
	return ret;
}

static ssize_t read_piece(struct mdma_file *file, char __user *buf, void *piece,
			  size_t count)
{
	ssize_t ret;

	ret = take_piece(file, piece, min_t(size_t, count, PIECE));
	if (ret <= 0)
		return ret;
	ret -= copy_to_user(buf, piece, ret);
	mutex_lock(&file->lock);
	file->pos += ret;
	mutex_unlock(&file->lock);
	return ret ?: -EFAULT;
}

static ssize_t save_read(struct file *filp, char __user *buf, size_t count,
			 loff_t *ppos)
{
	struct mdma_file *file = filp->private_data;
	ssize_t ret = 0;
	size_t done;
	void *piece;

	if (!count)
		return 0;
	piece = kvmalloc(min_t(size_t, count, PIECE), GFP_KERNEL_ACCOUNT);
	if (!piece)
		return -ENOMEM;
	if (mutex_lock_interruptible(&file->io)) {
		kvfree(piece);
		return -ERESTARTSYS;
	}
	for (done = 0; done < count; done += ret) {
		ret = read_piece(file, buf + done, piece, count - done);
		if (ret <= 0)
			break;
	}
	mutex_unlock(&file->io);
	kvfree(piece);
	return done ?: ret;
}

static __poll_t save_poll(struct file *filp, struct poll_table_struct *wait)
{
	struct mdma_file *file = filp->private_data;
	__poll_t ret = 0;

	poll_wait(filp, &file->wait, wait);
	mutex_lock(&file->lock);
	if (file->dead)
		ret = EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	else if (!file->precopy || file->pos < file->size)
		ret = EPOLLIN | EPOLLRDNORM;
	mutex_unlock(&file->lock);
	return ret;
}

static long save_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	size_t minsz = offsetofend(struct vfio_precopy_info, dirty_bytes);
	struct mdma_file *file = filp->private_data;
	void __user *uarg = (void __user *)arg;
	struct vfio_precopy_info info;
	int ret = 0;

	if (cmd != VFIO_MIG_GET_PRECOPY_INFO)
		return -ENOTTY;
	if (copy_from_user(&info, uarg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	mutex_lock(&file->lock);
	if (file->dead)
		ret = -ENODEV;
	else if (!file->precopy)
		ret = -EINVAL;
	/* An output (Linux 7.1): there is no other initial data than that of the begin. */
	info.flags = 0;
	info.initial_bytes = file->size - file->pos;
	info.dirty_bytes = 0;
	mutex_unlock(&file->lock);
	if (ret)
		return ret;
	return copy_to_user(uarg, &info, minsz) ? -EFAULT : 0;
}

/* Makes room for so many bytes in all; keeps what there is. */
static int make_room(struct mdma_file *file, size_t size)
{
	u8 *data;

	if (size <= file->room)
		return 0;
	size = clamp_t(size_t, 2 * file->room, size, MDMA_STREAM_MAX);
	data = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	memcpy(data, file->data, file->size);
	kvfree(file->data);
	file->data = data;
	file->room = size;
	return 0;
}

/* Says why a stream is refused, once for each: the user gets only an errno. */
static void tell_refusal(const struct mdma_file *file)
{
	struct mdma_stream_record record = {};

	memcpy(&record, file->data, min(sizeof(record), file->size));
	switch (file->parsed) {
	case -EOPNOTSUPP:
		pr_notice_ratelimited("mdma %08x: migration stream of version %u.%u refused, %u.x is known\n",
				      file->id, le16_to_cpu(record.major),
				      le16_to_cpu(record.minor),
				      MDMA_STREAM_MAJOR);
		break;
	case -EINVAL:
		pr_notice_ratelimited("mdma %08x: migration stream of another type of device, or with values out of range\n",
				      file->id);
		break;
	default:
		pr_notice_ratelimited("mdma %08x: migration stream is damaged\n",
				      file->id);
	}
}

/* Whether @count more bytes can follow: 0, or the error of the stream. */
static int check_follow(struct mdma_file *file, size_t count)
{
	if (file->dead)
		return -ENODEV;
	if (file->parsed == -EAGAIN && count > MDMA_STREAM_MAX - file->size) {
		file->parsed = -EFBIG;
		tell_refusal(file);
	} else if (!file->parsed) {
		file->parsed = -EBADMSG;
		tell_refusal(file);
	}
	return file->parsed == -EAGAIN ? 0 : file->parsed;
}

static int can_follow(struct mdma_file *file, size_t count)
{
	int ret;

	mutex_lock(&file->lock);
	ret = check_follow(file, count);
	mutex_unlock(&file->lock);
	return ret;
}

/* The stream goes on by these bytes: 0 or an error. */
static int append(struct mdma_file *file, const void *piece, size_t count)
{
	int ret;

	mutex_lock(&file->lock);
	ret = check_follow(file, count);
	if (!ret)
		ret = make_room(file, file->size + count);
	if (!ret) {
		memcpy(&file->data[file->size], piece, count);
		file->size += count;
		file->parsed = mdma_stream_continue(&file->parser, file->data,
						    file->size, &file->snap);
		ret = file->parsed == -EAGAIN ? 0 : file->parsed;
		if (ret)
			tell_refusal(file);
	}
	mutex_unlock(&file->lock);
	return ret;
}

/* If the stream is refused, the bytes before that do not count either. */
static ssize_t write_pieces(struct mdma_file *file, const char __user *buf,
			    void *piece, size_t count)
{
	size_t done, size;
	int ret;

	ret = can_follow(file, count);
	for (done = 0; !ret && done < count; done += size) {
		size = min_t(size_t, count - done, PIECE);
		size -= copy_from_user(piece, buf + done, size);
		if (!size)
			return done ?: -EFAULT;
		ret = append(file, piece, size);
	}
	return ret ?: done;
}

static ssize_t resume_write(struct file *filp, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct mdma_file *file = filp->private_data;
	ssize_t ret = -ERESTARTSYS;
	void *piece;

	if (!count)
		return 0;
	piece = kvmalloc(min_t(size_t, count, PIECE), GFP_KERNEL_ACCOUNT);
	if (!piece)
		return -ENOMEM;
	if (!mutex_lock_interruptible(&file->io)) {
		ret = write_pieces(file, buf, piece, count);
		mutex_unlock(&file->io);
	}
	kvfree(piece);
	return ret;
}

static void destroy(struct mdma_file *file)
{
	mutex_destroy(&file->io);
	mutex_destroy(&file->lock);
	kvfree(file->data);
	kfree(file);
}

static int file_release(struct inode *inode, struct file *filp)
{
	destroy(filp->private_data);
	return 0;
}

static const struct file_operations save_fops = {
	.owner = THIS_MODULE,
	.read = save_read,
	.poll = save_poll,
	.unlocked_ioctl = save_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = file_release,
};

static const struct file_operations resume_fops = {
	.owner = THIS_MODULE,
	.write = resume_write,
	.release = file_release,
};

/**
 * mdma_file_create() - a new file
 * @id: of the device that the stream is of, or is for
 * @channels: of that device
 * @saves: it is read from and has the CONFIG record; else it is written to
 *
 * Return: to be given to mdma_file_put(), or an ERR_PTR().
 */
struct mdma_file *mdma_file_create(u32 id, u32 channels, bool saves)
{
	struct mdma_file *file;
	int ret;

	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return ERR_PTR(-ENOMEM);
	file->id = id;
	file->parsed = -EAGAIN;
	file->precopy = saves;
	file->snap.channels = channels;
	mutex_init(&file->io);
	mutex_init(&file->lock);
	init_waitqueue_head(&file->wait);
	mdma_stream_begin(&file->parser, &file->snap);
	ret = make_room(file, FIRST_ROOM);
	if (ret)
		goto err_destroy;
	if (saves)
		file->size = mdma_stream_write_config(file->data, &file->snap);
	file->filp = anon_inode_getfile("[mdma-migration]",
					saves ? &save_fops : &resume_fops, file,
					saves ? O_RDONLY : O_WRONLY);
	ret = PTR_ERR_OR_ZERO(file->filp);
	if (ret)
		goto err_destroy;
	stream_open(file->filp->f_inode, file->filp);
	return file;

err_destroy:
	destroy(file);
	return ERR_PTR(ret);
}

/**
 * mdma_file_get() - the file for the user
 * @file: not yet put
 *
 * Return: with a reference of its own.
 */
struct file *mdma_file_get(struct mdma_file *file)
{
	return get_file(file->filp);
}

/**
 * mdma_file_end() - the user can't read or write the file any more
 * @file: of the device
 */
void mdma_file_end(struct mdma_file *file)
{
	mutex_lock(&file->lock);
	file->dead = true;
	mutex_unlock(&file->lock);
	wake_up_all(&file->wait);
}

/**
 * mdma_file_put() - the device does not use the file any more
 * @file: becomes NULL; the user may still have it open
 */
void mdma_file_put(struct mdma_file **file)
{
	struct mdma_file *old = *file;

	if (!old)
		return;
	*file = NULL;
	mdma_file_end(old);
	fput(old->filp);
}

/**
 * mdma_file_snapshot() - what the stream carries
 * @file: that saves, or one that has ended and whose result is 0
 *
 * Return: of one that saves, to be filled for mdma_file_finish().
 */
struct mdma_snapshot *mdma_file_snapshot(struct mdma_file *file)
{
	return &file->snap;
}

/**
 * mdma_file_finish() - the rest of a stream that is saved
 * @file: whose snapshot is complete
 *
 * Return: 0, or -ENOMEM: then nothing has changed.
 */
int mdma_file_finish(struct mdma_file *file)
{
	const struct mdma_snapshot *snap = &file->snap;
	size_t size = file->size;
	u8 *data;

	data = kvmalloc(size + mdma_stream_state_size(snap->channels,
						      snap->nr_progress,
						      snap->held.nr,
						      snap->trace.nr),
			GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	/* Nobody else writes to it */
	memcpy(data, file->data, size);
	size += mdma_stream_write_state(data + size, snap);
	mutex_lock(&file->lock);
	swap(file->data, data);
	file->size = size;
	file->precopy = false;
	mutex_unlock(&file->lock);
	kvfree(data);
	wake_up_all(&file->wait);
	return 0;
}

/**
 * mdma_file_result() - how a stream that was written is
 * @file: ended
 *
 * Return: 0 if it is complete and valid, -EINVAL if it ends too early, or why it
 * was refused.
 */
int mdma_file_result(const struct mdma_file *file)
{
	return file->parsed == -EAGAIN ? -EINVAL : file->parsed;
}
